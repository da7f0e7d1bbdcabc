// Requests of both protocols however they arrive: whole, byte by byte, with bytes of the next one
// behind them. The decoders are called as Connection calls them: again, with the same bytes and
// more behind them.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "support.h"
#include "wire/c10d.h"
#include "wire/native.h"

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;
using native::Operation;

namespace {

// A stream of one protocol, and what it decodes to.
struct Case {
  std::string stream;
  std::vector<std::string> requests;
};

class C10dReader {
 public:
  // Takes whole requests from the beginning of `input`; returns how much they took.
  size_t consume(Bytes input, std::vector<std::string>& requests) {
    size_t consumed = 0;
    for (;;) {
      size_t used = 0;
      c10d::Progress progress = decoder_.next(input.substr(consumed), request_, used);
      if (progress == c10d::Progress::kInvalid) invalid_ = true;
      if (progress != c10d::Progress::kRequest) return consumed;
      consumed += used;
      requests.push_back(shown(request_));
    }
  }
  bool invalid() const { return invalid_; }

 private:
  c10d::Decoder decoder_;
  c10d::Request request_;
  bool invalid_ = false;
};

class NativeReader {
 public:
  size_t consume(Bytes input, std::vector<std::string>& requests) {
    size_t consumed = 0;
    native::Frame frame;
    for (;;) {
      native::Progress progress = native::next_frame(input.substr(consumed), frame);
      if (progress == native::Progress::kMalformed) invalid_ = true;
      if (progress != native::Progress::kTaken) return consumed;
      consumed += native::kHeaderBytes + frame.body.size();
      const char* name = native::name_of(static_cast<Operation>(frame.header.operation));
      requests.push_back(std::string(name) + "#" + std::to_string(frame.header.id) + " " +
                         std::string(frame.body));
    }
  }
  bool invalid() const { return invalid_; }

 private:
  bool invalid_ = false;
};

// Feeds `stream` in pieces of `piece` bytes. What is not consumed stays in front of the next piece,
// in memory of exactly its size.
template <typename Reader>
std::vector<std::string> fed(const std::string& stream, size_t piece, bool& invalid) {
  Reader reader;
  std::vector<std::string> requests;
  std::string waiting;
  for (size_t at = 0; at < stream.size() && !reader.invalid(); at += piece) {
    waiting += stream.substr(at, piece);
    Exact exact(waiting);
    waiting.erase(0, reader.consume(exact.view(), requests));
  }
  invalid = reader.invalid();
  if (!invalid) CHECK(waiting.empty());
  return requests;
}

template <typename Reader>
void check_every_way(const Case& one) {
  for (size_t piece : {one.stream.size(), size_t{1}, size_t{2}, size_t{3}, size_t{7}, size_t{13}}) {
    CAPTURE(piece);
    bool invalid = false;
    CHECK(fed<Reader>(one.stream, piece, invalid) == one.requests);
    CHECK_FALSE(invalid);
  }
}

const std::vector<Case>& c10d_cases() {
  static const std::vector<Case> kCases = {
      {c10d_validate(), {"VALIDATE(; 1015412686)"}},
      {c10d_ping(7), {"PING(; 7)"}},
      {c10d_request(Code::kSet, {"/k", "value"}), {"SET(/k, value)"}},
      {c10d_request(Code::kSet, {"", ""}), {"SET(, )"}},
      {c10d_request(Code::kCompareSet, {"/k", "", "new"}), {"COMPARE_SET(/k, , new)"}},
      {c10d_request(Code::kGet, {"/k"}), {"GET(/k)"}},
      {c10d_add("init/", -3), {"ADD(init/; -3)"}},
      {c10d_request(Code::kCheck, {"/a", "/b"}), {"CHECK(/a, /b)"}},
      {c10d_request(Code::kCheck), {"CHECK()"}},
      {c10d_request(Code::kWait, {"/a", "/b", "/c"}), {"WAIT(/a, /b, /c)"}},
      {c10d_request(Code::kNumKeys), {"GETNUMKEYS()"}},
      {c10d_request(Code::kDeleteKey, {"/k"}), {"DELETE_KEY(/k)"}},
      {c10d_request(Code::kAppend, {"/k", "more"}), {"APPEND(/k, more)"}},
      {c10d_request(Code::kMultiGet, {"/a", "/b"}), {"MULTI_GET(/a, /b)"}},
      {c10d_request(Code::kMultiGet), {"MULTI_GET()"}},
      {c10d_request(Code::kMultiSet, {"/a", "1", "/b", ""}), {"MULTI_SET(/a, 1, /b, )"}},
      {c10d_request(Code::kMultiSet), {"MULTI_SET()"}},
      {c10d_request(Code::kCancelWait), {"CANCEL_WAIT()"}},
      {c10d_request(Code::kQueuePush, {"/q", "item"}), {"QUEUE_PUSH(/q, item)"}},
      {c10d_request(Code::kQueuePop, {"/q"}), {"QUEUE_POP(/q)"}},
      {c10d_request(Code::kQueueLen, {"/q"}), {"QUEUE_LEN(/q)"}},
      {c10d_request(Code::kListKeys), {"LIST_KEYS()"}},
      {c10d_barrier("/b", 3), {"BARRIER(/b; 3)"}},
  };
  return kCases;
}

std::vector<Case> native_cases() {
  std::vector<Case> cases;
  for (int number = 1; number <= native::kOperationMax; ++number) {
    auto operation = static_cast<Operation>(number);
    std::string name = native::name_of(operation);
    cases.push_back({native_frame(operation, 5), {name + "#5 "}});
    cases.push_back(
        {native_frame(operation, 1u << 31, "body of it", 3), {name + "#2147483648 body of it"}});
  }
  return cases;
}

// All cases in one stream, twice.
Case all_of(const std::vector<Case>& cases) {
  Case all;
  for (int round = 0; round < 2; ++round) {
    for (const Case& one : cases) {
      all.stream += one.stream;
      all.requests.insert(all.requests.end(), one.requests.begin(), one.requests.end());
    }
  }
  return all;
}

// The case, then the first bytes of the next request: they must neither be taken nor disturb.
template <typename Reader>
void check_with_rest(const Case& one, const Case& next) {
  for (size_t rest = 0; rest < next.stream.size(); ++rest) {
    Reader reader;
    std::vector<std::string> requests;
    Exact first(one.stream + next.stream.substr(0, rest));
    CHECK(reader.consume(first.view(), requests) == one.stream.size());
    CHECK(requests == one.requests);
    Exact second(next.stream);
    CHECK(reader.consume(second.view(), requests) == next.stream.size());
    CHECK(requests.back() == next.requests.back());
  }
}

}  // namespace

TEST_CASE("c10d requests decode the same however they are cut") {
  for (const Case& one : c10d_cases()) {
    CAPTURE(one.requests.front());
    check_every_way<C10dReader>(one);
  }
  check_every_way<C10dReader>(all_of(c10d_cases()));
}

TEST_CASE("c10d requests leave the bytes of the next one alone") {
  for (const Case& one : c10d_cases()) {
    for (const Case& next : c10d_cases()) {
      CAPTURE(one.requests.front());
      CAPTURE(next.requests.front());
      check_with_rest<C10dReader>(one, next);
    }
  }
}

TEST_CASE("native frames decode the same however they are cut") {
  for (const Case& one : native_cases()) {
    CAPTURE(one.requests.front());
    check_every_way<NativeReader>(one);
  }
  check_every_way<NativeReader>(all_of(native_cases()));
}

TEST_CASE("native frames leave the bytes of the next one alone") {
  for (const Case& one : native_cases()) check_with_rest<NativeReader>(one, native_cases().back());
}

TEST_CASE("a c10d decoder never asks for more than is missing, and for most of a large request") {
  // Who waits for more than ever comes waits for ever.
  for (const Case& one : c10d_cases()) {
    CAPTURE(one.requests.front());
    c10d::Decoder decoder;
    c10d::Request request;
    size_t used = 0;
    for (size_t end = 0; end < one.stream.size(); ++end) {
      REQUIRE(decoder.next(Bytes(one.stream).substr(0, end), request, used) ==
              c10d::Progress::kNeedMore);
      REQUIRE(decoder.missing() >= 1);
      REQUIRE(decoder.missing() <= one.stream.size() - end);
    }
  }
  const std::string set = c10d_request(Code::kSet, {"k", std::string(100'000, 'v')});
  c10d::Decoder decoder;
  c10d::Request request;
  size_t used = 0;
  REQUIRE(decoder.next(Bytes(set).substr(0, 1000), request, used) == c10d::Progress::kNeedMore);
  CHECK(decoder.missing() == set.size() - 1000);
}

TEST_CASE("what is refused is refused however it is cut, and what came before it is not lost") {
  const std::string good = c10d_request(Code::kSet, {"k", "v"});
  for (const std::string& bad :
       {std::string("\x13"), Fields().u8(3).u64(1u << 20).bytes, Fields().u8(6).u64(200'000).bytes,
        Fields().u8(1).string64("k").u64(1u << 30).bytes}) {
    for (size_t piece : {size_t{1}, size_t{4}, size_t{1000}}) {
      bool invalid = false;
      CHECK(fed<C10dReader>(good + bad, piece, invalid) == std::vector<std::string>{"SET(k, v)"});
      CHECK(invalid);
    }
  }
  const std::string too_large = Fields().u32(1u << 30).u32(3).u64(1).bytes;
  for (size_t piece : {size_t{1}, size_t{1000}}) {
    bool invalid = false;
    CHECK(fed<NativeReader>(native_frame(Operation::kPing, 1) + too_large, piece, invalid) ==
          std::vector<std::string>{"ping#1 "});
    CHECK(invalid);
  }
}

TEST_CASE("16,000 pairs in packets of 1,440 bytes are one request, and are scanned once") {
  const std::string value(1024, 'v');
  std::vector<std::string> keys;
  std::vector<Bytes> pairs;
  for (int i = 0; i < 16'000; ++i) keys.push_back("/key" + std::to_string(i));
  for (const std::string& key : keys) pairs.insert(pairs.end(), {key, value});
  const std::string stream = c10d_request(Code::kMultiSet, pairs);

  // Whatever lies before the last two pieces is spoilt: a decoder that looked at it again would
  // find sizes that are refused. (The two hold the string that is not whole, with its size.)
  std::string arrived = stream;
  c10d::Decoder decoder;
  c10d::Request request;
  size_t used = 0;
  size_t requests = 0;
  constexpr size_t kPiece = 1440;
  for (size_t end = kPiece;; end = std::min(end + kPiece, stream.size())) {
    c10d::Progress progress = decoder.next(Bytes(arrived).substr(0, end), request, used);
    REQUIRE(progress != c10d::Progress::kInvalid);
    if (progress == c10d::Progress::kRequest) ++requests;
    if (end == stream.size()) break;
    REQUIRE(requests == 0);
    if (end < 3 * kPiece) continue;
    std::fill_n(arrived.begin() + static_cast<long>(end - 3 * kPiece), kPiece, '\xFF');
  }
  CHECK(requests == 1);
  CHECK(used == stream.size());
  REQUIRE(request.strings.size() == 32'000);
  for (size_t i = 0; i < 32'000; ++i) {
    REQUIRE(request.strings[i].size() == pairs[i].size());
    REQUIRE(request.strings[i].data() - arrived.data() >= 9);
  }
  CHECK(request.strings.back() == value);
}
