# Writes the bytes of a file as a function that gives them.
file(READ ${BYTES} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "// Generated from backends/cuda/math/functions.cpp.
#include \"backends/cuda/codegen/Functions.h\"

static constexpr unsigned char bytes[] = {${bytes}};

llvm::StringRef npuc::cuda::functionsBitcode() {
  return {reinterpret_cast<const char *>(bytes), sizeof(bytes)};
}
")
