// The native protocol (docs/protocol.md): framed, little-endian, with request ids, so that requests
// are pipelined and a blocked one blocks nobody. Frames and bodies, encoded and decoded. No
// sockets, no threads, no clock.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace rdzv::native {

// The first bytes of a connection: magic, lowest and highest version the client speaks. Frames
// follow.
inline constexpr Bytes kMagic = "RDZV";
inline constexpr size_t kPreambleBytes = 8;
inline constexpr uint16_t kVersion = 2;

inline constexpr size_t kHeaderBytes = 16;
inline constexpr uint8_t kReplyBit = 0x80;
// Request ids stay below 2^48, so that channel and id make one tag.
inline constexpr int kIdBits = 48;
inline constexpr uint32_t kNoTimeout = 0xFFFFFFFF;
inline constexpr int64_t kRanklessCaller = -1;  // at a barrier

enum class Operation : uint8_t {
  kHello = 1,
  kPing = 2,
  kSet = 3,
  kGet = 4,
  kCompareSet = 5,
  kAdd = 6,
  kCheck = 7,
  kWait = 8,
  kDeleteKey = 9,
  kNumKeys = 10,
  kListKeys = 11,
  kAppend = 12,
  kMultiGet = 13,
  kMultiSet = 14,
  kCancel = 15,
  kQueuePush = 16,
  kQueuePop = 17,
  kQueueLen = 18,
  kBarrier = 19,
  kTryGet = 20,
  kWatch = 21,
  kSetIfVersion = 22,
  kSetFor = 23,
  kDeletePrefix = 24,
  kExchange = 25,
  // The rendezvous of a run (wire/run_messages.h).
  kJoin = 26,
  kLeave = 27,
  kKeepAlive = 28,
  kCloseRun = 29,
  kStatus = 30,
  kSubscribe = 31,
  kMembers = 32,
  kResume = 33,
  // What ends a channel of a connection (wire/messages.h).
  kCloseChannel = 34,
  // What changes in a run (wire/run_look_messages.h).
  kFollow = 35,
  // And under a prefix.
  kWatchPrefix = 36,
  // From where clients have connected (wire/run_look_messages.h).
  kHosts = 37,
  // Which name spaces there are (wire/messages.h).
  kSpaces = 38,
  // What has happened in a run (wire/run_look_messages.h).
  kTimeline = 39,
};

// For messages (wire/messages.h has it).
const char* name_of(Operation operation);

// 16 bytes: u32 body size, u8 operation (with kReplyBit in answers), u8 status (ErrorCode; 0 in
// requests), u16 channel, u64 request id.
struct Header {
  uint32_t body_bytes = 0;
  uint8_t operation = 0;
  uint8_t status = 0;
  uint16_t channel = 0;
  uint64_t id = 0;
};

struct Frame {
  Header header;
  Bytes body;  // a view into the input
  Bytes tail;  // the rest of it, if that lies elsewhere: a large value, which comes last
};

// What a decoder says: it is there as a whole; more bytes are needed to tell; it cannot be read; it is
// something else, which somebody else may read.
enum class Progress : uint8_t { kTaken, kNeedMore, kMalformed, kNotMine };

// The frame at the beginning of `input`; kMalformed when its body would be larger than
// limits::kRequestBytesMax. `tail`: the end of its body, if that lies elsewhere.
Progress next_frame(Bytes input, Frame& frame, Bytes tail = {});

// Begins a frame at the end of `out` and, with end_frame, fills in the body's size.
size_t begin_frame(std::string& out, const Header& header);
void end_frame(std::string& out, size_t begin);

// Bodies are made of these (wire/fields.h). A byte string is u32 size and the bytes; a list is u32
// count and its items.
void put_u8(std::string& out, uint8_t value);
void put_u32(std::string& out, uint32_t value);
void put_u64(std::string& out, uint64_t value);
void put_string(std::string& out, Bytes value);
// Checks the size against `size_max` before anything is taken; on failure the reader is not ok.
Bytes take_string(ByteReader& reader, size_t size_max);
bool take_strings(ByteReader& reader, size_t strings_an_item, std::vector<Bytes>& strings);

using Id128 = std::array<uint8_t, 16>;

struct Preamble {
  uint16_t version_min = 0;
  uint16_t version_max = 0;
};
void put_preamble(std::string& out);
// kNotMine as soon as a byte shows that it speaks something else.
Progress take_preamble(Bytes input, Preamble& preamble);

}  // namespace rdzv::native
