// Finds devices by name: those that were registered, and libraries named after them.
#pragma once

#include "runtime/device/Device.h"

namespace npuc::device {

/// What a device library exports as `npurt_device_entry`, a function without parameters that returns one. The
/// two numbers show that it was built with this runtime.
struct Entry {
  uint64_t schemaHash;
  const char *version;
  Factory create;
};
inline constexpr const char *entrySymbol = "npurt_device_entry";

/// Makes a device known without a library of its own. Before the first create().
void registerDevice(std::string name, Factory factory);

/// A device by name, or "NAME:1" for the second of its kind (Options::ordinal). Device NAME is in
/// libnpurt_NAME.so, with '_' for '-', in Options::libraryFolder, and stays loaded. Errors: a name that is
/// none, no such device (names those that there are), a library that does not load or is of another build.
std::shared_ptr<Device> create(const std::string &name, const Options &options, Diagnostics &diagnostics);

} // namespace npuc::device
