// The byte protocol of torch's TCPStore (torch 2.13): requests encoded and decoded, answers
// encoded (c10d_reply.h reads them). No sockets, no threads, no clock.
//
// A request is one code byte and its fields; there are no request ids and no lengths of whole
// requests, so a request may be cut anywhere and has to be scanned to find its end. The decoder
// remembers how far it got: bytes are scanned once, however they arrive, and a request is handed
// out once, when it is whole.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace rdzv::c10d {

enum class Code : uint8_t {
  kValidate = 0x00,
  kSet = 0x01,
  kCompareSet = 0x02,
  kGet = 0x03,
  kAdd = 0x04,
  kCheck = 0x05,
  kWait = 0x06,
  kNumKeys = 0x07,
  kDeleteKey = 0x08,
  kAppend = 0x09,
  kMultiGet = 0x0A,
  kMultiSet = 0x0B,
  kCancelWait = 0x0C,
  kPing = 0x0D,
  kQueuePush = 0x0E,
  kQueuePop = 0x0F,
  kQueueLen = 0x10,
  kListKeys = 0x11,
  kBarrier = 0x12,
};

inline constexpr uint32_t kMagic = 0x3C85F7CE;
inline constexpr uint8_t kStopWaiting = 0;
inline constexpr uint8_t kWaitCanceled = 1;

const char* name_of(Code code);

struct Request {
  Code code = Code::kValidate;
  // The request's byte strings in the order of the wire (MULTI_SET: key, value, key, value...).
  // Views into the decoder's input.
  std::vector<Bytes> strings;
  Bytes raw;  // the whole request, as it was sent
  // ADD's amount, BARRIER's world size, VALIDATE's magic, PING's nonce.
  int64_t number = 0;
};

enum class Progress { kRequest, kNeedMore, kInvalid };

class Decoder {
 public:
  // `input` begins with the first byte of a request. After kNeedMore, call again with the same
  // bytes and more behind them. After kRequest, `used` bytes are done with; the request's views
  // stay valid as long as the input does. After kInvalid the connection is of no further use, and
  // error() says why.
  Progress next(Bytes input, Request& request, size_t& used);

  // Whether the next byte is the first of a request.
  bool is_between() const { return position_ == 0; }
  // After kNeedMore: at least so many bytes are missing.
  size_t missing() const { return missing_; }
  // What it remembers of a request that is not whole.
  size_t scanned_bytes() const { return spans_.capacity() * sizeof(Span); }

  const std::string& error() const { return error_; }

 private:
  struct Span {
    size_t begin;
    size_t size;
  };

  Progress begin_request(Bytes input);
  Progress scan_count(Bytes input);
  Progress scan_strings(Bytes input);
  Progress need_more(Bytes input, size_t bytes);
  Progress invalid(std::string error);
  void reset();

  Code code_ = Code::kValidate;
  size_t position_ = 0;      // scanned so far; 0: between requests
  size_t strings_left_ = 0;  // still to be scanned
  size_t missing_ = 0;
  bool count_known_ = false;
  std::vector<Span> spans_;
  std::string error_;
};

// A request: its byte strings in the order of the wire, and the number as in Request.
void put_request(std::string& out, Code code, const std::vector<Bytes>& strings,
                 int64_t number = 0);

// Answers.
void put_bytes(std::string& out, Bytes value);
void put_i64(std::string& out, int64_t value);
void put_u8(std::string& out, uint8_t value);
void put_u32(std::string& out, uint32_t value);

}  // namespace rdzv::c10d
