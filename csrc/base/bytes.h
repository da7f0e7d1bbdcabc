// Reading and writing little-endian numbers and byte strings, whatever the machine's order.
// ByteReader never reads past its view: a short read makes it fail once and for all, so callers
// check ok() where it suits them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

namespace rdzv {

// Bytes owned by somebody else; valid as long as the owner says.
using Bytes = std::string_view;

// Bytes with several owners, which nobody changes.
using SharedBytes = std::shared_ptr<const std::string>;

template <typename T>
T load_little_endian(const char* from) {
  static_assert(std::is_unsigned_v<T>);
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<T>(static_cast<unsigned char>(from[i])) << (8 * i));
  }
  return value;
}

template <typename T>
void append_little_endian(std::string& to, T value) {
  static_assert(std::is_unsigned_v<T>);
  char bytes[sizeof(T)];
  for (size_t i = 0; i < sizeof(T); ++i)
    bytes[i] = static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
  to.append(bytes, sizeof(T));
}

class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

  uint8_t u8() { return number<uint8_t>(); }
  uint16_t u16() { return number<uint16_t>(); }
  uint32_t u32() { return number<uint32_t>(); }
  uint64_t u64() { return number<uint64_t>(); }
  int64_t i64() { return static_cast<int64_t>(number<uint64_t>()); }

  Bytes take(size_t count) {
    if (!ok_ || count > left()) {
      ok_ = false;
      return {};
    }
    Bytes taken = bytes_.substr(position_, count);
    position_ += count;
    return taken;
  }

 private:
  template <typename T>
  T number() {
    if (!ok_ || sizeof(T) > left()) {
      ok_ = false;
      return 0;
    }
    T value = load_little_endian<T>(bytes_.data() + position_);
    position_ += sizeof(T);
    return value;
  }

  Bytes bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace rdzv
