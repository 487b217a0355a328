// What makes the device a library of its own.
#include "runtime/artifact/Format.h"
#include "runtime/cuda/Simulated.h"
#include "runtime/device/Registry.h"

extern "C" __attribute__((visibility("default"))) const npuc::device::Entry *npurt_device_entry() {
  static const npuc::device::Entry entry = {npuc::artifact::schemaHash, npuc::artifact::version.data(),
                                            npuc::cuda::createPtxSim};
  return &entry;
}
