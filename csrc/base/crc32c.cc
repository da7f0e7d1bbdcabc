#include "base/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

namespace rdzv {
namespace {

constexpr uint32_t kPolynomial = 0x82F63B78;  // Castagnoli's, bits reversed

// kTables[k][b]: what byte b contributes when k more bytes follow it in its group of eight.
constexpr std::array<std::array<uint32_t, 256>, 8> make_tables() {
  std::array<std::array<uint32_t, 256>, 8> tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < 8; ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr auto kTables = make_tables();

}  // namespace

uint32_t crc32c_by_table(Bytes bytes) {
  uint32_t crc = 0xFFFFFFFF;
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    uint32_t low = load_little_endian<uint32_t>(at) ^ crc;
    uint32_t high = load_little_endian<uint32_t>(at + 4);
    crc = kTables[7][low & 0xFF] ^ kTables[6][(low >> 8) & 0xFF] ^ kTables[5][(low >> 16) & 0xFF] ^
          kTables[4][low >> 24] ^ kTables[3][high & 0xFF] ^ kTables[2][(high >> 8) & 0xFF] ^
          kTables[1][(high >> 16) & 0xFF] ^ kTables[0][high >> 24];
  }
  for (; left > 0; ++at, --left) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<unsigned char>(*at)) & 0xFF];
  }
  return ~crc;
}

namespace {

#if defined(__x86_64__) && defined(__GNUC__)
// clang counts the instruction as an extension of its own, which sse4.2 does not bring.
#if defined(__clang__) && __clang_major__ >= 14
#define RDZV_HAS_CRC32 "sse4.2,crc32"
#else
#define RDZV_HAS_CRC32 "sse4.2"
#endif

__attribute__((target(RDZV_HAS_CRC32))) uint32_t crc32c_by_instruction(Bytes bytes) {
  uint64_t crc = 0xFFFFFFFF;
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    uint64_t group = 0;
    std::memcpy(&group, at, sizeof group);
    crc = __builtin_ia32_crc32di(crc, group);
  }
  uint32_t rest = static_cast<uint32_t>(crc);
  for (; left > 0; ++at, --left) {
    rest = __builtin_ia32_crc32qi(rest, static_cast<unsigned char>(*at));
  }
  return ~rest;
}

using Crc = uint32_t (*)(Bytes);

Crc fastest() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sse4.2") != 0 ? crc32c_by_instruction : crc32c_by_table;
}
#endif

}  // namespace

uint32_t crc32c(Bytes bytes) {
#if defined(__x86_64__) && defined(__GNUC__)
  static const Crc kCrc = fastest();
  return kCrc(bytes);
#else
  return crc32c_by_table(bytes);
#endif
}

}  // namespace rdzv
