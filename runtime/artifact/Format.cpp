#include "runtime/artifact/Format.h"

#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace npuc::artifact {
namespace {

constexpr size_t checksumAt = 120;

template <typename T>
void put(unsigned char *at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i)
    at[i] = static_cast<unsigned char>(value >> (8 * i));
}

template <typename T>
T get(const unsigned char *at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i)
    value |= static_cast<T>(at[i]) << (8 * i);
  return value;
}

} // namespace

std::array<unsigned char, headerBytes> encode(const Header &header) {
  std::array<unsigned char, headerBytes> out{};
  std::copy(magic.begin(), magic.end(), out.begin());
  put<uint32_t>(&out[8], header.version);
  put<uint32_t>(&out[12], headerBytes);
  put<uint64_t>(&out[16], header.schemaHash);
  std::copy(header.writer.begin(), header.writer.end(), out.begin() + 24);
  put<uint64_t>(&out[48], header.manifestOffset);
  put<uint64_t>(&out[56], header.manifestBytes);
  put<uint64_t>(&out[64], header.manifestChecksum);
  put<uint64_t>(&out[72], header.fileBytes);
  put<uint64_t>(&out[checksumAt], XXH3_64bits(out.data(), checksumAt));
  return out;
}

Header decode(const unsigned char *bytes) {
  Header header;
  header.version = get<uint32_t>(bytes + 8);
  header.schemaHash = get<uint64_t>(bytes + 16);
  std::memcpy(header.writer.data(), bytes + 24, header.writer.size());
  header.manifestOffset = get<uint64_t>(bytes + 48);
  header.manifestBytes = get<uint64_t>(bytes + 56);
  header.manifestChecksum = get<uint64_t>(bytes + 64);
  header.fileBytes = get<uint64_t>(bytes + 72);
  return header;
}

bool checksumHolds(const unsigned char *bytes) {
  return get<uint64_t>(bytes + checksumAt) == XXH3_64bits(bytes, checksumAt);
}

uint64_t checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

} // namespace npuc::artifact
