// The elements of constants: in the IR itself, or behind handles in files.
#pragma once

#include "compiler/interpret/HostTensor.h"
#include "support/Diagnostic.h"
#include "support/File.h"
#include "support/ThreadPool.h"

#include "mlir/IR/BuiltinAttributes.h"

#include <map>
#include <memory>
#include <mutex>

namespace npuc::interpret {

/// Reads handles of the nn dialect: maps each file once and applies the steps that the handle names, one
/// tensor at a time. May be used from several threads.
class ConstantReader {
public:
  explicit ConstantReader(ThreadPool &pool) : pool_(pool) {}

  /// The elements of `value` (dense, dense_resource, or a handle). No tensor, and errors that name the file
  /// and `where`, if a file is missing, unreadable or shorter than the handle needs. Elements that a handle
  /// uses as they stand in the file are not copied.
  HostTensor read(mlir::TypedAttr value, const std::string &where, Diagnostics &diagnostics);

  ThreadPool &threads() const { return pool_; }

private:
  std::shared_ptr<MappedFile> file(const std::string &path, Diagnostics &diagnostics);
  HostTensor readExternal(mlir::Attribute value, const std::string &where, Diagnostics &diagnostics);

  ThreadPool &pool_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<MappedFile>> files_;
};

} // namespace npuc::interpret
