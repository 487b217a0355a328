// One libFuzzer program for each target: NPUC_FUZZ_TARGET names it.
#include "test/fuzz/Targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  npuc::fuzz::NPUC_FUZZ_TARGET(data, size);
  return 0;
}
