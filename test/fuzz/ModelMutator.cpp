// How libFuzzer changes models: as messages, so that what it makes is a model still.
#include "test/fuzz/ProtoMutator.h"

#include <onnx/onnx_pb.h>

#include <cstring>

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  onnx::ModelProto model;
  if (seed % 16 == 0 || !model.ParseFromArray(data, static_cast<int>(size)))
    return LLVMFuzzerMutate(data, size, maxSize);
  npuc::fuzz::mutate(model, seed);
  const std::string bytes = model.SerializeAsString();
  if (bytes.size() > maxSize)
    return size;
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}
