#include "runtime/ptx_sim/Module.h"

#include <array>

namespace npuc::ptx {
namespace {

struct TypeRow {
  std::string_view name;
  unsigned bytes;
};
constexpr std::array<TypeRow, 19> types = {{{"b8", 1},
                                            {"b16", 2},
                                            {"b32", 4},
                                            {"b64", 8},
                                            {"u8", 1},
                                            {"u16", 2},
                                            {"u32", 4},
                                            {"u64", 8},
                                            {"s8", 1},
                                            {"s16", 2},
                                            {"s32", 4},
                                            {"s64", 8},
                                            {"f16", 2},
                                            {"bf16", 2},
                                            {"f32", 4},
                                            {"f64", 8},
                                            {"f16x2", 4},
                                            {"bf16x2", 4},
                                            {"pred", 4}}};
constexpr std::array<std::string_view, 6> spaces = {"generic", "global", "shared", "local", "const", "param"};

} // namespace

std::optional<Type> typeFromName(std::string_view name) {
  for (size_t i = 0; i < types.size(); ++i)
    if (types[i].name == name)
      return static_cast<Type>(i);
  return std::nullopt;
}

std::string_view name(Type type) {
  return types[static_cast<size_t>(type)].name;
}

unsigned byteWidth(Type type) {
  return types[static_cast<size_t>(type)].bytes;
}

bool isFloat(Type type) {
  return type >= Type::F16 && type <= Type::BF16x2;
}

bool isSigned(Type type) {
  return type >= Type::S8 && type <= Type::S64;
}

std::string_view name(Space space) {
  return spaces[static_cast<size_t>(space)];
}

} // namespace npuc::ptx
