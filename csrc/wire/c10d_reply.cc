#include "wire/c10d_reply.h"

#include "wire/limits.h"

namespace rdzv::c10d {
namespace {

constexpr size_t kLengthBytes = 8;

size_t number_bytes_of(Code code) {
  switch (code) {
    case Code::kCheck:
    case Code::kWait:
    case Code::kCancelWait:
    case Code::kBarrier:
      return 1;
    case Code::kPing:
      return 4;
    case Code::kAdd:
    case Code::kNumKeys:
    case Code::kDeleteKey:
    case Code::kQueuePop:
    case Code::kQueueLen:
    case Code::kListKeys:
      return 8;
    default:
      return 0;
  }
}

size_t values_of(Code code, size_t keys) {
  if (code == Code::kMultiGet) return keys;
  return code == Code::kGet || code == Code::kCompareSet ? 1 : 0;
}

}  // namespace

ReplyDecoder::ReplyDecoder(Code code, size_t keys)
    : code_(code),
      number_known_(number_bytes_of(code) == 0),
      ends_with_value_(values_of(code, keys) > 0),
      strings_left_(values_of(code, keys)) {}

Progress ReplyDecoder::next(Bytes input, Reply& reply, size_t& used) {
  if (!number_known_) {
    Progress scanned = scan_number(input);
    if (scanned != Progress::kRequest) return scanned;
  }
  Progress scanned = scan_strings(input);
  if (scanned != Progress::kRequest) return scanned;
  if (input.size() - position_ < echo_bytes_) return Progress::kNeedMore;
  reply.number = number_;
  reply.strings.clear();
  for (const Span& span : spans_) reply.strings.push_back(input.substr(span.begin, span.size));
  used = position_ + echo_bytes_;
  return Progress::kRequest;
}

Progress ReplyDecoder::scan_number(Bytes input) {
  size_t size = number_bytes_of(code_);
  if (input.size() < size) return Progress::kNeedMore;
  if (size == 1) number_ = static_cast<uint8_t>(input[0]);
  if (size == 4) number_ = load_little_endian<uint32_t>(input.data());
  if (size == 8) number_ = static_cast<int64_t>(load_little_endian<uint64_t>(input.data()));
  bool is_state = size == 1;
  bool is_count = code_ == Code::kNumKeys || code_ == Code::kDeleteKey ||
                  code_ == Code::kQueuePop || code_ == Code::kQueueLen || code_ == Code::kListKeys;
  if ((is_state && number_ > 1) || (is_count && number_ < 0)) {
    return invalid("the number " + std::to_string(number_));
  }
  if (code_ == Code::kListKeys) strings_left_ = static_cast<size_t>(number_);
  if (code_ == Code::kQueuePop) strings_left_ = number_ > 0 ? 1 : 0;
  position_ = size;
  number_known_ = true;
  return Progress::kRequest;
}

Progress ReplyDecoder::scan_strings(Bytes input) {
  while (strings_left_ > 0) {
    awaits_length_ = input.size() - position_ < kLengthBytes;
    if (awaits_length_) return Progress::kNeedMore;
    auto size = load_little_endian<uint64_t>(input.data() + position_);
    if (size > limits::kValueBytesMax || position_ + kLengthBytes + size > limits::kReplyBytesMax) {
      return invalid("a value of " + std::to_string(size) + " bytes; the limit is " +
                     std::to_string(limits::kValueBytesMax) + ", and " +
                     std::to_string(limits::kReplyBytesMax) + " for a whole answer");
    }
    if (input.size() - position_ - kLengthBytes < size) return Progress::kNeedMore;
    spans_.push_back({position_ + kLengthBytes, static_cast<size_t>(size)});
    position_ += kLengthBytes + static_cast<size_t>(size);
    --strings_left_;
  }
  return Progress::kRequest;
}

Progress ReplyDecoder::invalid(const std::string& what) {
  error_ = std::string(name_of(code_)) + " was answered with " + what;
  return Progress::kInvalid;
}

}  // namespace rdzv::c10d
