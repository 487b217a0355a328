# How this project declares its libraries, tools and tests: one line each where they live.

add_library(npuc_options INTERFACE)
target_include_directories(npuc_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}>)
# Without contraction a product and a sum are two roundings on every machine, as they are written.
set(options -fPIC -Wall -Wextra -Werror -Wno-unused-parameter -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  # Clang builds what is sanitized. "GCC ivdep" is a hint to GCC's vectorizer alone, and libstdc++'s own std::stable_sort uses
  # what it deprecates.
  list(APPEND options -Wno-unknown-pragmas -Wno-deprecated-declarations)
endif()
if(NPUC_SANITIZE)
  list(APPEND options -fsanitize=${NPUC_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -D_GLIBCXX_ASSERTIONS)
  target_link_options(npuc_options INTERFACE -fsanitize=${NPUC_SANITIZE})
endif()
target_compile_options(npuc_options INTERFACE "$<BUILD_INTERFACE:${options}>")

# Everything that links MLIR shares one precompiled header of MLIR's (cmake/Dependencies.cmake): parsing those headers takes longer
# than all the rest.
function(npuc_precompile target)
  foreach(link ${ARGN})
    if(TARGET ${link})
      get_target_property(mlir ${link} NPUC_MLIR)
    endif()
    if(TARGET ${link} AND mlir)
      set_target_properties(${target} PROPERTIES NPUC_MLIR ON)
      target_precompile_headers(${target} REUSE_FROM npuc_mlir_headers)
      return()
    endif()
  endforeach()
endfunction()

# npuc_library(NAME SOURCES a.cpp… [LINK lib…] [PROTOS x.proto…]): a static library, included by paths from the root.
function(npuc_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;PROTOS" ${ARGN})
  set(generated)
  foreach(proto ${arg_PROTOS})
    file(RELATIVE_PATH path ${PROJECT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${proto})
    string(REGEX REPLACE "\\.proto$" "" stem ${path})
    add_custom_command(
      OUTPUT ${PROJECT_BINARY_DIR}/${stem}.pb.cc ${PROJECT_BINARY_DIR}/${stem}.pb.h
      COMMAND protobuf::protoc -I ${PROJECT_SOURCE_DIR} --cpp_out=${PROJECT_BINARY_DIR} ${path}
      WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
      DEPENDS ${PROJECT_SOURCE_DIR}/${path} VERBATIM)
    set_source_files_properties(${PROJECT_BINARY_DIR}/${stem}.pb.cc PROPERTIES COMPILE_OPTIONS "-w")
    list(APPEND generated ${PROJECT_BINARY_DIR}/${stem}.pb.cc ${PROJECT_BINARY_DIR}/${stem}.pb.h)
  endforeach()
  add_library(${name} STATIC ${arg_SOURCES} ${generated})
  target_link_libraries(${name} PUBLIC npuc_options ${arg_LINK})
  npuc_precompile(${name} ${arg_LINK})
endfunction()

# npuc_simd(LIBRARY SOURCES a.cpp…): adds sources that are compiled once for each level of vector instructions, each time with
# NPUC_SIMD defined as the level's name, a namespace for what they define; support/Simd.h chooses among them at run time.
# They are always optimized, and define nothing outside that namespace: a shared inline function could end up in the program
# with instructions that the machine lacks.
function(npuc_simd library)
  cmake_parse_arguments(arg "" "" "SOURCES" ${ARGN})
  set(base)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    set(levels base v3 v4)
    set(v3 -march=x86-64-v3)
    set(v4 -march=x86-64-v4 -mavx512vnni -mprefer-vector-width=512)
  else()
    set(levels base)
  endif()
  foreach(level ${levels})
    add_library(${library}_${level} OBJECT ${arg_SOURCES})
    target_compile_definitions(${library}_${level} PRIVATE NPUC_SIMD=${level})
    target_compile_options(${library}_${level} PRIVATE ${${level}} -O3 -fno-math-errno -fno-trapping-math)
    target_link_libraries(${library}_${level} PRIVATE npuc_options)
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${library}_${level}>)
  endforeach()
endfunction()

# npuc_tool(NAME SOURCES a.cpp… [LINK lib…]): a program in build/PRESET/bin.
function(npuc_tool name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE npuc_options ${arg_LINK})
  npuc_precompile(${name} ${arg_LINK})
endfunction()

# npuc_unit_test(NAME SOURCES a.cpp… [LINK lib…]): Catch2 tests in build/PRESET/tests/unit/NAME, run by test/run.py and ctest.
function(npuc_unit_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE npuc_options npuc_catch_main ${arg_LINK})
  npuc_precompile(${name} ${arg_LINK})
  target_compile_definitions(${name} PRIVATE NPUC_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests/unit)
  add_test(NAME ${name} COMMAND ${name})
endfunction()
