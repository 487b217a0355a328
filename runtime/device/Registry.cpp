#include "runtime/device/Registry.h"

#include "runtime/artifact/Format.h"

#include <algorithm>
#include <charconv>
#include <dlfcn.h>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <mutex>

namespace npuc::device {
namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::string, Factory> factories;
};

Registry &registry() {
  static Registry instance;
  return instance;
}

// The folder of the library (or program) that holds this code.
std::filesystem::path ownFolder() {
  Dl_info info;
  if (!dladdr(reinterpret_cast<void *>(&ownFolder), &info) || !info.dli_fname)
    return {};
  std::error_code ignored;
  return std::filesystem::weakly_canonical(info.dli_fname, ignored).parent_path();
}

constexpr std::string_view prefix = "libnpurt_", suffix = ".so";

std::string libraryOf(std::string name) {
  std::ranges::replace(name, '-', '_');
  return std::string(prefix) + name + std::string(suffix);
}

// Names of the devices whose libraries lie in the folder.
std::vector<std::string> namesIn(const std::filesystem::path &folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto &entry : std::filesystem::directory_iterator(folder, ignored)) {
    std::string file = entry.path().filename().string();
    if (!file.starts_with(prefix) || !file.ends_with(suffix) || file == libraryOf("private"))
      continue;
    std::string name = file.substr(prefix.size(), file.size() - prefix.size() - suffix.size());
    std::ranges::replace(name, '_', '-');
    names.push_back(name);
  }
  return names;
}

Factory load(const std::string &name, const std::filesystem::path &path, Diagnostics &diagnostics) {
  auto fail = [&](std::string what, std::string why) {
    diagnostics.error(fmt::format("device '{}'", name), std::move(what), std::move(why),
                      "install the npurt that belongs to it");
    return nullptr;
  };
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return fail("the device's library does not load", dlerror());
  auto entry = reinterpret_cast<const Entry *(*)()>(dlsym(library, entrySymbol));
  if (!entry)
    return fail("this is no device's library", fmt::format("{} has no {}", path.string(), entrySymbol));
  const Entry &known = *entry();
  if (known.schemaHash != artifact::schemaHash || known.version != artifact::version)
    return fail("the device's library is of another version",
                fmt::format("it is of npurt {}, schema {:016x}; this is npurt {}, schema {:016x}",
                            known.version, known.schemaHash, artifact::version, artifact::schemaHash));
  return known.create;
}

Factory find(const std::string &name, const Options &options, Diagnostics &diagnostics) {
  Registry &known = registry();
  std::lock_guard lock(known.mutex);
  if (auto it = known.factories.find(name); it != known.factories.end())
    return it->second;
  const std::filesystem::path folder =
      options.libraryFolder.empty() ? ownFolder() : std::filesystem::path(options.libraryFolder);
  const std::filesystem::path path = folder / libraryOf(name);
  if (name.find('/') == std::string::npos && std::filesystem::exists(path)) {
    Factory factory = load(name, path, diagnostics);
    if (factory) {
      known.factories.emplace(name, factory);
      options.hooks.log(false, fmt::format("loaded device '{}' from {}", name, path.string()));
    }
    return factory;
  }
  std::vector<std::string> names = namesIn(folder);
  for (const auto &[registered, factory] : known.factories)
    if (std::ranges::find(names, registered) == names.end())
      names.push_back(registered);
  std::ranges::sort(names);
  std::string near = nearest(name, names);
  diagnostics.error(fmt::format("device '{}'", name), "there is no such device",
                    names.empty() ? fmt::format("no device's library lies in {}", folder.string())
                                  : fmt::format("devices are {}", fmt::join(names, ", ")),
                    near.empty() ? "" : fmt::format("did you mean '{}'?", near));
  return nullptr;
}

} // namespace

void registerDevice(std::string name, Factory factory) {
  Registry &known = registry();
  std::lock_guard lock(known.mutex);
  known.factories.insert_or_assign(std::move(name), factory);
}

std::shared_ptr<Device> create(const std::string &name, const Options &options, Diagnostics &diagnostics) {
  const size_t colon = std::min(name.find(':'), name.size());
  Options own = options;
  if (colon < name.size()) {
    const char *begin = name.data() + colon + 1, *end = name.data() + name.size();
    const auto parsed = std::from_chars(begin, end, own.ordinal);
    if (parsed.ec != std::errc() || parsed.ptr != end) {
      diagnostics.error(fmt::format("device '{}'", name), "this is no device's name",
                        "what follows ':' is no number", "name it as cuda:1, the second GPU");
      return nullptr;
    }
  }
  Factory factory = find(name.substr(0, colon), options, diagnostics);
  return factory ? factory(own, diagnostics) : nullptr;
}

} // namespace npuc::device
