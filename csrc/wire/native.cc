#include "wire/native.h"

#include <algorithm>

#include "wire/limits.h"

namespace rdzv::native {

Progress next_frame(Bytes input, Frame& frame, Bytes tail) {
  if (input.size() < kHeaderBytes) return Progress::kNeedMore;
  ByteReader reader(input);
  Header& header = frame.header;
  header.body_bytes = reader.u32();
  header.operation = reader.u8();
  header.status = reader.u8();
  header.channel = reader.u16();
  header.id = reader.u64();
  if (header.body_bytes > limits::kRequestBytesMax) return Progress::kMalformed;
  if (reader.left() + tail.size() < header.body_bytes) return Progress::kNeedMore;
  frame.body = reader.take(header.body_bytes - tail.size());
  frame.tail = tail;
  return Progress::kTaken;
}

size_t begin_frame(std::string& out, const Header& header) {
  size_t begin = out.size();
  append_little_endian<uint32_t>(out, header.body_bytes);
  append_little_endian<uint8_t>(out, header.operation);
  append_little_endian<uint8_t>(out, header.status);
  append_little_endian<uint16_t>(out, header.channel);
  append_little_endian<uint64_t>(out, header.id);
  return begin;
}

void end_frame(std::string& out, size_t begin) {
  auto size = static_cast<uint32_t>(out.size() - begin - kHeaderBytes);
  for (size_t i = 0; i < sizeof(size); ++i)
    out[begin + i] = static_cast<char>((size >> (8 * i)) & 0xFF);
}

void put_u8(std::string& out, uint8_t value) {
  append_little_endian<uint8_t>(out, value);
}
void put_u32(std::string& out, uint32_t value) {
  append_little_endian<uint32_t>(out, value);
}
void put_u64(std::string& out, uint64_t value) {
  append_little_endian<uint64_t>(out, value);
}

void put_string(std::string& out, Bytes value) {
  put_u32(out, static_cast<uint32_t>(value.size()));
  out.append(value);
}

Bytes take_string(ByteReader& reader, size_t size_max) {
  uint32_t size = reader.u32();
  if (size > size_max) return reader.take(SIZE_MAX);
  return reader.take(size);
}

bool take_strings(ByteReader& reader, size_t strings_an_item, std::vector<Bytes>& strings) {
  strings.clear();
  uint32_t count = reader.u32();
  constexpr size_t kSizeBytes = 4;
  // Each string takes its size field at least, so a count that the body cannot hold allocates
  // nothing.
  if (!reader.ok() || count > limits::kKeysPerRequestMax) return false;
  if (count * strings_an_item * kSizeBytes > reader.left()) return false;
  strings.reserve(count * strings_an_item);
  for (size_t i = 0; i < count * strings_an_item; ++i) {
    bool is_key = i % strings_an_item == 0;
    strings.push_back(
        take_string(reader, is_key ? limits::kWireKeyBytesMax : limits::kValueBytesMax));
  }
  return reader.ok();
}

void put_preamble(std::string& out) {
  out.append(kMagic);
  append_little_endian<uint16_t>(out, kVersion);
  append_little_endian<uint16_t>(out, kVersion);
}

Progress take_preamble(Bytes input, Preamble& preamble) {
  const size_t common = std::min(input.size(), kMagic.size());
  if (input.substr(0, common) != kMagic.substr(0, common)) return Progress::kNotMine;
  if (input.size() < kPreambleBytes) return Progress::kNeedMore;
  ByteReader reader(input.substr(kMagic.size()));
  preamble.version_min = reader.u16();
  preamble.version_max = reader.u16();
  return Progress::kTaken;
}

}  // namespace rdzv::native
