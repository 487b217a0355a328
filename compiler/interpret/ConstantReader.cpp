#include "compiler/interpret/ConstantReader.h"

#include "compiler/interpret/Elements.h"
#include "compiler/interpret/kernels/Cast.h"
#include "compiler/interpret/kernels/Movement.h"
#include "compiler/interpret/kernels/Pointwise.h"
#include "dialects/nn/IR/NN.h"

#include <algorithm>

namespace npuc::interpret {

std::shared_ptr<MappedFile> ConstantReader::file(const std::string &path, Diagnostics &diagnostics) {
  std::lock_guard lock(mutex_);
  auto found = files_.find(path);
  if (found != files_.end())
    return found->second;
  std::optional<MappedFile> file = MappedFile::open(path, diagnostics);
  if (!file)
    return nullptr;
  return files_[path] = std::make_shared<MappedFile>(std::move(*file));
}

HostTensor ConstantReader::readExternal(mlir::Attribute value, const std::string &where,
                                        Diagnostics &diagnostics) {
  auto handle = llvm::cast<nn::ExternalAttr>(value);
  auto type = llvm::cast<mlir::RankedTensorType>(handle.getType());
  std::shared_ptr<MappedFile> file = this->file(handle.getPath().str(), diagnostics);
  if (!file)
    return {};
  ElementType element = elementTypeOf(type);
  Shape shape = shapeOf(type);
  auto offset = static_cast<uint64_t>(handle.getOffset());
  size_t bytes = byteSize(element, static_cast<size_t>(countOf(shape)));
  if (handle.getOffset() < 0 || offset > file->size() || bytes > file->size() - offset) {
    diagnostics.error(where, "the constant lies beyond the end of its file",
                      file->path() + " has " + std::to_string(file->size()) + " bytes, the constant takes " +
                          std::to_string(bytes) + " from byte " + std::to_string(handle.getOffset()),
                      "the file changed after the model was imported, or is incomplete: fetch it again");
    return {};
  }
  const std::byte *data = file->bytes().data() + offset;
  bool usable = bitWidth(element) >= 8 && reinterpret_cast<uintptr_t>(data) % itemSize(element) == 0;
  return usable ? HostTensor(element, std::move(shape), file, data)
                : fromPacked(element, std::move(shape), data);
}

HostTensor ConstantReader::read(mlir::TypedAttr value, const std::string &where, Diagnostics &diagnostics) {
  auto type = llvm::cast<mlir::RankedTensorType>(value.getType());
  if (llvm::isa<nn::ExternalAttr>(value))
    return readExternal(value, where, diagnostics);
  if (auto elements = llvm::dyn_cast<mlir::ElementsAttr>(value)) {
    HostTensor tensor = fromElements(elements);
    if (!tensor)
      diagnostics.error(where, "the constant's elements are missing",
                        "its value is neither dense nor a handle of nn");
    return tensor;
  }
  if (auto handle = llvm::dyn_cast<nn::ConcatenatedAttr>(value)) {
    std::vector<HostTensor> parts;
    for (mlir::TypedAttr source : handle.getSources())
      parts.push_back(read(source, where, diagnostics));
    bool all = std::all_of(parts.begin(), parts.end(), [](const HostTensor &part) { return bool(part); });
    return all ? concat(pool_, parts, handle.getAxis()) : HostTensor();
  }
  // What is left has one source.
  auto step = [&](auto handle, auto apply) {
    HostTensor tensor = read(handle.getSource(), where, diagnostics);
    return tensor ? apply(tensor) : tensor;
  };
  if (auto handle = llvm::dyn_cast<nn::TransposedAttr>(value))
    return step(handle, [&](const HostTensor &x) { return transpose(pool_, x, handle.getPermutation()); });
  if (auto handle = llvm::dyn_cast<nn::ReshapedAttr>(value))
    return step(handle, [&](const HostTensor &x) { return x.reshaped(shapeOf(type)); });
  if (auto handle = llvm::dyn_cast<nn::ConvertedAttr>(value))
    return step(handle, [&](const HostTensor &x) { return cast(pool_, x, elementTypeOf(type)); });
  if (auto handle = llvm::dyn_cast<nn::SlicedAttr>(value))
    return step(handle, [&](const HostTensor &x) {
      return slice(pool_, x, handle.getStarts(), shapeOf(type), handle.getSteps());
    });
  auto factors = [&](mlir::DenseF32ArrayAttr values) {
    return HostTensor::of(ElementType::F32, {values.size()}, values.asArrayRef().vec());
  };
  if (auto handle = llvm::dyn_cast<nn::ScaledAttr>(value))
    return step(handle, [&](const HostTensor &x) {
      Shape aligned(static_cast<size_t>(x.rank()), 1);
      aligned[static_cast<size_t>(handle.getAxis())] = handle.getFactors().size();
      return binary(pool_, Binary::Mul, x, factors(handle.getFactors()).reshaped(aligned));
    });
  if (auto handle = llvm::dyn_cast<nn::QuantizedAttr>(value))
    return step(handle, [&](const HostTensor &x) {
      return quantize(pool_, x, factors(handle.getScales()), {}, {handle.getAxis(), 0}, ElementType::I8,
                      true);
    });
  llvm_unreachable("nn.constant's verifier lets no other attribute through");
}

} // namespace npuc::interpret
