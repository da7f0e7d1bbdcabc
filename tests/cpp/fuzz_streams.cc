#include "fuzz_streams.h"

#include <algorithm>
#include <array>

#include "support.h"

namespace rdzv::test {

using c10d::Code;
using native::Operation;

std::string FuzzStreams::key() {
  return "/" + std::string(1, static_cast<char>('a' + below(5)));
}

std::string FuzzStreams::value() {
  if (below(3) == 0) return std::to_string(below(1000));
  return std::string(below(200), 'v');
}

std::string FuzzStreams::c10d_one() {
  std::string a = key(), b = key(), v = value(), w = value();
  switch (below(19)) {
    case 0:
      return c10d_ping(static_cast<uint32_t>(random_()));
    case 1:
      return c10d_request(Code::kSet, {a, v});
    case 2:
      return c10d_request(Code::kCompareSet, {a, v, w});
    case 3:
      return c10d_request(Code::kGet, {a});
    case 4:
      return c10d_add("/n", static_cast<int64_t>(below(100)) - 50);
    case 5:
      return c10d_request(Code::kCheck, {a, b});
    case 6:
      return c10d_request(Code::kWait, {a, "/late" + b});
    case 7:
      return c10d_request(Code::kNumKeys);
    case 8:
      return c10d_request(Code::kDeleteKey, {a});
    case 9:
      return c10d_request(Code::kAppend, {a, v});
    case 10:
      return c10d_request(Code::kMultiGet, {a, b, a});
    case 11:
      return c10d_request(Code::kMultiSet, {a, v, b, w, "/late" + a, ""});
    case 12:
      return c10d_request(Code::kCancelWait);
    case 13:
      return c10d_request(Code::kQueuePush, {a, v});
    case 14:
      return c10d_request(Code::kQueuePop, {a});
    case 15:
      return c10d_request(Code::kQueueLen, {a});
    case 16:
      return c10d_request(Code::kListKeys);
    case 17:
      return c10d_barrier("/n" + b, static_cast<int64_t>(below(4)));
    default:
      return c10d_validate();
  }
}

Fields FuzzStreams::exchange_body(uint32_t timeout) {
  uint64_t world_size = below(5);
  uint64_t rank = below(world_size + 1);
  return Fields().u32(timeout).string32("/n" + key()).u64(rank).u64(world_size).string32(value());
}

std::string FuzzStreams::native_one() {
  uint64_t id = below(20);
  auto timeout = static_cast<uint32_t>(below(3) == 0 ? native::kNoTimeout : below(30));
  if (below(3) == 0) return run_one(id, timeout);
  auto frame = [&](Operation operation, const Fields& body) {
    return native_frame(operation, id, body.bytes, static_cast<uint16_t>(below(2)));
  };
  std::string a = key(), b = key(), v = value(), w = value();
  switch (below(26)) {
    case 0:
      return frame(Operation::kPing, {});
    case 1:
      return frame(Operation::kSet, Fields().string32(a).string32(v));
    case 2:
      return frame(Operation::kGet, Fields().u32(timeout).string32("/late" + a));
    case 3:
      return frame(Operation::kCompareSet, Fields().string32(a).string32(v).string32(w));
    case 4:
      return frame(Operation::kAdd, Fields().string32("/n").u64(random_()));
    case 5:
      return frame(Operation::kCheck, Fields().u32(2).string32(a).string32(b));
    case 6:
      return frame(Operation::kWait,
                   Fields().u32(timeout).u32(2).string32(a).string32("/late" + b));
    case 7:
      return frame(Operation::kDeleteKey, Fields().string32(below(2) == 0 ? a : "/late" + a));
    case 8:
      return frame(Operation::kNumKeys, {});
    case 9:
      return frame(Operation::kListKeys, Fields().string32(a));
    case 10:
      return frame(Operation::kAppend, Fields().string32(a).string32(v));
    case 11:
      return frame(Operation::kMultiGet, Fields().u32(timeout).u32(2).string32(a).string32(b));
    case 12:
      return frame(Operation::kMultiSet,
                   Fields().u32(2).string32(a).string32(v).string32("/late" + b).string32(w));
    case 13:
      return frame(Operation::kCancel, Fields().u16(below(2)).u64(below(20)));
    case 14:
      return frame(Operation::kQueuePush, Fields().string32(a).string32(v));
    case 15:
      return frame(Operation::kQueuePop, Fields().u32(timeout).string32(a));
    case 16:
      return frame(Operation::kQueueLen, Fields().string32(a));
    case 17:
      return frame(Operation::kBarrier, Fields()
                                            .u32(timeout)
                                            .string32("/n" + b)
                                            .u64(below(4))
                                            .u64(below(4) - 1)
                                            .u64(below(3))
                                            .u64(below(2)));
    case 18:
      return frame(Operation::kTryGet, Fields().string32(a));
    case 19:
      return frame(Operation::kWatch, Fields().u32(timeout).string32(a).u64(below(30)));
    case 20:
      return frame(Operation::kSetIfVersion, Fields().string32(a).string32(v).u64(below(30)));
    case 21:
      return frame(Operation::kSetFor, Fields().u64(below(20)).string32(a).string32(v));
    case 22:
      return frame(Operation::kDeletePrefix, Fields().string32(below(4) == 0 ? "/late" : a));
    case 23:
      return frame(Operation::kExchange, exchange_body(timeout));
    case 24:
      return frame(Operation::kWatchPrefix, Fields()
                                                .u32(timeout)
                                                .string32(Bytes(a).substr(0, below(3)))
                                                .u64(below(5))
                                                .string32(below(3) == 0 ? a : ""));
    default:
      return frame(Operation::kGet, Fields().u32(0).string32(a));
  }
}

std::string FuzzStreams::c10d() {
  std::string stream = c10d_validate();
  for (uint64_t left = 1 + below(12); left > 0; --left) stream += c10d_one();
  return stream;
}

std::string FuzzStreams::native() {
  std::string stream = native_greeting();
  for (uint64_t left = 1 + below(12); left > 0; --left) stream += native_one();
  return stream;
}

std::string FuzzStreams::damaged(std::string stream) {
  if (below(8) == 0) return stream;
  for (uint64_t left = 1 + below(4); left > 0 && !stream.empty(); --left) damage(stream);
  return stream;
}

void FuzzStreams::damage(std::string& stream) {
  size_t at = below(stream.size());
  size_t size = std::min<size_t>(1 + below(16), stream.size() - at);
  switch (below(7)) {
    case 0:
      stream[at] = static_cast<char>(stream[at] ^ (1 << below(8)));
      break;
    case 1:
      stream.resize(at);
      break;
    case 2:
      stream.insert(below(stream.size()), stream.substr(at, size));
      break;
    case 3:
      stream.erase(at, size);
      break;
    case 4:
      for (uint64_t left = size; left > 0; --left)
        stream.insert(at, 1, static_cast<char>(below(256)));
      break;
    case 5: {
      std::string other = either();
      stream = stream.substr(0, at) + other.substr(below(other.size()));
      break;
    }
    default:
      edit_number(stream);
  }
}

// Sizes, counts and ids lie at no fixed place: any will do.
void FuzzStreams::edit_number(std::string& stream) {
  static constexpr std::array<uint64_t, 20> kNumbers = {
      0,          1,          2,           7,          8,          255,        256,
      16'384,     16'385,     16'386,      131'072,    131'073,    64u << 20,  (64u << 20) + 1,
      256u << 20, 0x7FFFFFFF, 0xFFFFFFFFu, 1ull << 48, 1ull << 63, UINT64_MAX,
  };
  uint64_t number = below(3) == 0 ? below(stream.size() + 2) : kNumbers[below(kNumbers.size())];
  size_t width = below(2) == 0 ? 4 : 8;
  if (stream.size() < width) return;
  stream.replace(below(stream.size() - width + 1), width, Fields().number(number, width).bytes);
}

}  // namespace rdzv::test
