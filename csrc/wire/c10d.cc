#include "wire/c10d.h"

#include <array>

#include "wire/limits.h"

namespace rdzv::c10d {
namespace {

// What follows a code byte: an optional count, then byte strings, then a number.
struct Shape {
  const char* name;
  uint8_t strings;       // in all, or for each item when counted
  bool counted;          // u64 number of items first
  uint8_t number_bytes;  // after the strings
};

constexpr std::array<Shape, 19> kShapes = {{
    {"VALIDATE", 0, false, 4},    {"SET", 2, false, 0},        {"COMPARE_SET", 3, false, 0},
    {"GET", 1, false, 0},         {"ADD", 1, false, 8},        {"CHECK", 1, true, 0},
    {"WAIT", 1, true, 0},         {"GETNUMKEYS", 0, false, 0}, {"DELETE_KEY", 1, false, 0},
    {"APPEND", 2, false, 0},      {"MULTI_GET", 1, true, 0},   {"MULTI_SET", 2, true, 0},
    {"CANCEL_WAIT", 0, false, 0}, {"PING", 0, false, 4},       {"QUEUE_PUSH", 2, false, 0},
    {"QUEUE_POP", 1, false, 0},   {"QUEUE_LEN", 1, false, 0},  {"LIST_KEYS", 0, false, 0},
    {"BARRIER", 1, false, 8},
}};

constexpr size_t kLengthBytes = 8;

const Shape& shape_of(Code code) {
  return kShapes[static_cast<size_t>(code)];
}

}  // namespace

const char* name_of(Code code) {
  return shape_of(code).name;
}

Progress Decoder::next(Bytes input, Request& request, size_t& used) {
  if (position_ == 0) {
    Progress begun = begin_request(input);
    if (begun != Progress::kRequest) return begun;
  }
  if (!count_known_) {
    Progress counted = scan_count(input);
    if (counted != Progress::kRequest) return counted;
  }
  Progress scanned = scan_strings(input);
  if (scanned != Progress::kRequest) return scanned;

  size_t number_bytes = shape_of(code_).number_bytes;
  if (input.size() - position_ < number_bytes) return need_more(input, number_bytes);
  request.number = 0;
  if (number_bytes == 4) request.number = load_little_endian<uint32_t>(input.data() + position_);
  if (number_bytes == 8) {
    request.number = static_cast<int64_t>(load_little_endian<uint64_t>(input.data() + position_));
  }
  request.code = code_;
  request.strings.clear();
  for (const Span& span : spans_) request.strings.push_back(input.substr(span.begin, span.size));
  used = position_ + number_bytes;
  request.raw = input.substr(0, used);
  reset();
  return Progress::kRequest;
}

Progress Decoder::begin_request(Bytes input) {
  if (input.empty()) return need_more(input, 1);
  auto code = static_cast<uint8_t>(input[0]);
  if (code >= kShapes.size()) return invalid("unknown operation code " + std::to_string(code));
  code_ = static_cast<Code>(code);
  position_ = 1;
  count_known_ = !shape_of(code_).counted;
  strings_left_ = count_known_ ? shape_of(code_).strings : 0;
  spans_.reserve(strings_left_);
  return Progress::kRequest;
}

Progress Decoder::scan_count(Bytes input) {
  if (input.size() - position_ < kLengthBytes) return need_more(input, kLengthBytes);
  auto count = load_little_endian<uint64_t>(input.data() + position_);
  if (count > limits::kKeysPerRequestMax) {
    return invalid(std::string(name_of(code_)) + " of " + std::to_string(count) +
                   " keys; the limit is " + std::to_string(limits::kKeysPerRequestMax));
  }
  position_ += kLengthBytes;
  strings_left_ = static_cast<size_t>(count) * shape_of(code_).strings;
  count_known_ = true;
  return Progress::kRequest;
}

Progress Decoder::scan_strings(Bytes input) {
  while (strings_left_ > 0) {
    size_t lengths = strings_left_ * kLengthBytes;
    if (input.size() - position_ < kLengthBytes) return need_more(input, lengths);
    auto size = load_little_endian<uint64_t>(input.data() + position_);
    size_t strings_an_item = shape_of(code_).strings;
    bool is_key = shape_of(code_).counted ? spans_.size() % strings_an_item == 0 : spans_.empty();
    size_t size_max = is_key ? limits::kWireKeyBytesMax : limits::kValueBytesMax;
    if (size > size_max || position_ + kLengthBytes + size > limits::kRequestBytesMax) {
      return invalid(std::string(name_of(code_)) + " with a " + (is_key ? "key" : "value") +
                     " of " + std::to_string(size) + " bytes; the limit is " +
                     std::to_string(size_max) + ", and " +
                     std::to_string(limits::kRequestBytesMax) + " for the whole request");
    }
    if (input.size() - position_ - kLengthBytes < size)
      return need_more(input, lengths + static_cast<size_t>(size));
    spans_.push_back({position_ + kLengthBytes, static_cast<size_t>(size)});
    position_ += kLengthBytes + static_cast<size_t>(size);
    --strings_left_;
  }
  return Progress::kRequest;
}

// `bytes` have to follow what was scanned.
Progress Decoder::need_more(Bytes input, size_t bytes) {
  missing_ = bytes - (input.size() - position_);
  return Progress::kNeedMore;
}

Progress Decoder::invalid(std::string error) {
  error_ = std::move(error);
  return Progress::kInvalid;
}

void Decoder::reset() {
  constexpr size_t kSpansKept = 8;
  position_ = 0;
  spans_.clear();
  if (spans_.capacity() > kSpansKept) spans_.shrink_to_fit();
}

void put_request(std::string& out, Code code, const std::vector<Bytes>& strings, int64_t number) {
  const Shape& shape = shape_of(code);
  put_u8(out, static_cast<uint8_t>(code));
  if (shape.counted) append_little_endian<uint64_t>(out, strings.size() / shape.strings);
  for (Bytes string : strings) put_bytes(out, string);
  if (shape.number_bytes == 4) put_u32(out, static_cast<uint32_t>(number));
  if (shape.number_bytes == 8) put_i64(out, number);
}

void put_bytes(std::string& out, Bytes value) {
  append_little_endian<uint64_t>(out, value.size());
  out.append(value);
}

void put_i64(std::string& out, int64_t value) {
  append_little_endian<uint64_t>(out, static_cast<uint64_t>(value));
}

void put_u8(std::string& out, uint8_t value) {
  out.push_back(static_cast<char>(value));
}

void put_u32(std::string& out, uint32_t value) {
  append_little_endian<uint32_t>(out, value);
}

}  // namespace rdzv::c10d
