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
endif()
