// The container of an artifact (.npa): header, sections, manifest.
//
// All numbers are little-endian. The header takes the file's first 128 bytes:
//     0  magic                        8   format version (32 bits)    12  bytes of the header (32 bits): 128
//    16  schema hash (64)            24   version of the writer, text filled up with zeros (24 bytes)
//    48  offset of the manifest (64) 56   bytes of the manifest (64)  64  checksum of the manifest (64)
//    72  bytes of the file (64)      80   zeros                      120  checksum of bytes 0 to 119 (64)
// Sections follow, each at a multiple of 4096 so that it can be mapped, with zeros between; then, at a
// multiple of 8, the manifest (artifact.proto), and the file ends. Checksums are XXH3 of 64 bits.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace npuc::artifact {

/// As PNG's: a first byte above 127, both kinds of line end and an end-of-file character show a transfer that
/// took the file for text.
inline constexpr std::array<unsigned char, 8> magic = {0x89, 'N', 'P', 'A', '\r', '\n', 0x1a, '\n'};
inline constexpr uint32_t formatVersion = 1;
inline constexpr uint64_t headerBytes = 128;
inline constexpr uint64_t sectionAlignment = 4096;
inline constexpr uint64_t manifestAlignment = 8;
inline constexpr uint64_t greatestManifest = uint64_t{1} << 30;

struct Header {
  uint32_t version = formatVersion;
  uint64_t schemaHash = 0;
  std::array<char, 24> writer{};
  uint64_t manifestOffset = 0, manifestBytes = 0, manifestChecksum = 0;
  uint64_t fileBytes = 0;
};

/// Hash of the schemas (artifact.proto, target.proto, the element types) that this program was built with,
/// without their comments: two programs with equal hashes read each other's artifacts.
extern const uint64_t schemaHash;
/// This program's version, as in "0.1.0".
extern const std::string_view version;

std::array<unsigned char, headerBytes> encode(const Header &header);
/// What stands in 128 bytes; the header's checksum is `checksumHolds`' to tell.
Header decode(const unsigned char *bytes);
bool checksumHolds(const unsigned char *bytes);

uint64_t checksum(std::span<const std::byte> bytes);

} // namespace npuc::artifact
