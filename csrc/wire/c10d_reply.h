// The answers of the c10d protocol, read by a client. They carry neither ids nor sizes: what an
// answer looks like is known from the request it belongs to. No sockets, no threads, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "wire/c10d.h"

namespace rdzv::c10d {

struct Reply {
  int64_t number = 0;          // a state, a sum, a count, a length, PING's nonce
  std::vector<Bytes> strings;  // views into the decoder's input
};

// One answer. Remembers how far it got, so that bytes are scanned once, however they arrive;
// nothing is reserved on the word of a length that the peer announces.
class ReplyDecoder {
 public:
  // `keys`: how many a MULTI_GET asked for.
  explicit ReplyDecoder(Code code, size_t keys = 0);

  // As Decoder::next; kRequest means that the answer is whole.
  Progress next(Bytes input, Reply& reply, size_t& used);

  bool ends_with_value() const { return ends_with_value_; }
  // Whether the next that is missing says how long a value is.
  bool awaits_length() const { return awaits_length_; }
  // A PING was sent behind the request: the answer is whole with its echo.
  void expect_echo() { echo_bytes_ = kEchoBytes; }
  bool expects_echo() const { return echo_bytes_ > 0; }

  const std::string& error() const { return error_; }

 private:
  static constexpr size_t kEchoBytes = 4;

  struct Span {
    size_t begin;
    size_t size;
  };

  Progress scan_number(Bytes input);
  Progress scan_strings(Bytes input);
  Progress invalid(const std::string& what);

  Code code_;
  size_t position_ = 0;
  bool number_known_;
  int64_t number_ = 0;
  bool ends_with_value_;
  bool awaits_length_ = true;
  size_t strings_left_;
  size_t echo_bytes_ = 0;
  std::vector<Span> spans_;
  std::string error_;
};

}  // namespace rdzv::c10d
