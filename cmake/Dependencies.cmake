# What the project links, all from the distribution but ONNX, which ./dev setup builds into the cache.

find_package(Threads REQUIRED)
find_package(Protobuf 3.21 REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

# Debian's package files of these two ask for parts that they do not need (OpenCL; the zip tools).
foreach(name dnnl zip)
  find_library(${name}_LIBRARY ${name} REQUIRED)
  add_library(npuc_${name} INTERFACE)
  target_link_libraries(npuc_${name} INTERFACE ${${name}_LIBRARY})
endforeach()

if(NPUC_COMPILER)
  set(cache $ENV{XDG_CACHE_HOME})
  if(NOT cache)
    set(cache $ENV{HOME}/.cache)
  endif()
  set(NPUC_ONNX_PREFIX ${cache}/npuc/onnx-1.22.0 CACHE PATH "Where ./dev setup installed ONNX")
  find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
  find_package(ONNX 1.22 REQUIRED CONFIG HINTS ${NPUC_ONNX_PREFIX}/lib/cmake/ONNX)
  list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
  include(TableGen)
  include(AddLLVM)
  include(AddMLIR)

  # LLVM and MLIR as the one shared library each that the distribution ships; their headers are not held to our warnings.
  add_library(npuc_mlir INTERFACE)
  target_include_directories(npuc_mlir SYSTEM INTERFACE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  target_link_libraries(npuc_mlir INTERFACE npuc_options MLIR LLVM)
  # Compile time is spent in MLIR itself, and optimizing its templates again doubles the time of a build.
  target_compile_options(npuc_mlir INTERFACE $<$<CONFIG:Release>:-O1>)
  set_target_properties(npuc_mlir PROPERTIES NPUC_MLIR ON)

  # What most files include of it, parsed once: see npuc_precompile. (The options are what ccache needs to keep what uses it.)
  target_compile_options(npuc_mlir INTERFACE
    $<BUILD_INTERFACE:$<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>>
    "$<BUILD_INTERFACE:$<$<CXX_COMPILER_ID:Clang>:SHELL:-Xclang -fno-pch-timestamp>>")
  file(WRITE ${PROJECT_BINARY_DIR}/mlir_headers.cpp "")
  add_library(npuc_mlir_headers OBJECT ${PROJECT_BINARY_DIR}/mlir_headers.cpp)
  target_link_libraries(npuc_mlir_headers PRIVATE npuc_mlir)
  target_precompile_headers(npuc_mlir_headers PRIVATE
    <mlir/Dialect/Affine/IR/AffineOps.h>
    <mlir/Dialect/Arith/IR/Arith.h>
    <mlir/Dialect/Bufferization/IR/Bufferization.h>
    <mlir/Dialect/Func/IR/FuncOps.h>
    <mlir/Dialect/Linalg/IR/Linalg.h>
    <mlir/Dialect/Math/IR/Math.h>
    <mlir/Dialect/MemRef/IR/MemRef.h>
    <mlir/Dialect/SCF/IR/SCF.h>
    <mlir/Dialect/Tensor/IR/Tensor.h>
    <mlir/IR/Builders.h>
    <mlir/IR/Matchers.h>
    <mlir/IR/PatternMatch.h>
    <mlir/Pass/Pass.h>
    <mlir/Transforms/GreedyPatternRewriteDriver.h>)
endif()
