#include "wire/native.h"

#include <cstring>

#include "wire/limits.h"

namespace rdzv::native {

const char* name_of(Operation operation) {
  static constexpr const char* kNames[] = {
      "",
      "hello",
      "ping",
      "set",
      "get",
      "compare_set",
      "add",
      "check",
      "wait",
      "delete_key",
      "num_keys",
      "list_keys",
      "append",
      "multi_get",
      "multi_set",
      "cancel",
      "queue_push",
      "queue_pop",
      "queue_len",
      "barrier",
      "try_get",
      "watch",
      "set_if_version",
      "set with a time to live",
      "delete_prefix",
      "exchange",
      "join",
      "leave",
      "keep_alive",
      "close",
      "status",
      "subscribe",
      "members",
      "resume",
  };
  return kNames[static_cast<size_t>(operation)];
}

Progress next_frame(Bytes input, Frame& frame) {
  if (input.size() < kHeaderBytes) return Progress::kNeedMore;
  ByteReader reader(input);
  Header& header = frame.header;
  header.body_bytes = reader.u32();
  header.operation = reader.u8();
  header.status = reader.u8();
  header.channel = reader.u16();
  header.id = reader.u64();
  if (header.body_bytes > limits::kRequestBytesMax) return Progress::kInvalid;
  if (reader.left() < header.body_bytes) return Progress::kNeedMore;
  frame.body = reader.take(header.body_bytes);
  return Progress::kFrame;
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

std::optional<Preamble> take_preamble(Bytes input) {
  ByteReader reader(input);
  if (reader.take(kMagic.size()) != kMagic) return std::nullopt;
  Preamble preamble{};
  preamble.version_min = reader.u16();
  preamble.version_max = reader.u16();
  if (!reader.ok()) return std::nullopt;
  return preamble;
}

namespace {

void put_id(std::string& out, const Id128& id) {
  out.append(reinterpret_cast<const char*>(id.data()), id.size());
}

void take_id(ByteReader& reader, Id128& id) {
  Bytes bytes = reader.take(id.size());
  if (reader.ok()) std::memcpy(id.data(), bytes.data(), id.size());
}

bool is_whole(const ByteReader& reader) {
  return reader.ok() && reader.left() == 0;
}

}  // namespace

void put_hello(std::string& out, const HelloRequest& hello) {
  put_u32(out, hello.features);
  put_id(out, hello.session);
  put_string(out, hello.credentials);
  put_string(out, hello.client);
}

bool take_hello(Bytes body, HelloRequest& hello) {
  ByteReader reader(body);
  hello.features = reader.u32();
  take_id(reader, hello.session);
  hello.credentials = take_string(reader, limits::kTextBytesMax);
  hello.client = take_string(reader, limits::kTextBytesMax);
  return is_whole(reader);
}

void put_hello_reply(std::string& out, const HelloReply& hello) {
  append_little_endian<uint16_t>(out, hello.version);
  put_u32(out, hello.features);
  put_id(out, hello.instance);
  put_string(out, hello.observed_address);
  put_string(out, hello.server);
  put_u32(out, hello.key_bytes_max);
  put_u32(out, hello.value_bytes_max);
  put_u32(out, hello.keys_per_request_max);
}

bool take_hello_reply(Bytes body, HelloReply& hello) {
  ByteReader reader(body);
  hello.version = reader.u16();
  hello.features = reader.u32();
  take_id(reader, hello.instance);
  hello.observed_address = take_string(reader, limits::kTextBytesMax);
  hello.server = take_string(reader, limits::kTextBytesMax);
  hello.key_bytes_max = reader.u32();
  hello.value_bytes_max = reader.u32();
  hello.keys_per_request_max = reader.u32();
  return is_whole(reader);
}

}  // namespace rdzv::native
