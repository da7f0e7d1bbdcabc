// The operations of a store on a native server, each once: the request, its arguments checked, and
// what the answer means. No socket, clock, lock or thread; NativeStore and asyncio's store carry
// them out. What a request names (keys, values) outlives it.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "client/native_request.h"
#include "store/store.h"

namespace rdzv {

// What is said about a run (run_operations.h), in strings of its own.
struct NodeName {
  std::string addr;
  uint64_t pid = 0;
  uint64_t local_id = 0;
};
struct RunMember {
  NodeName node;
  uint32_t rank = native::kNoRank;
  uint32_t silent_ms = native::kNotHeard;
};
struct RunJoined {
  bool timed_out = false;  // the server said so; the node is not listed any more
  native::JoinOutcome outcome = native::JoinOutcome::kPlaced;
  uint64_t round = 0;
  uint32_t rank = 0;
  uint32_t world_size = 0;
  NodeName first;   // who has rank 0
  NodeName before;  // of the rank before, and of the one after; without an address: it has left
  NodeName after;
  uint32_t waiting = 0;
  uint32_t spares = 0;
  uint32_t changes = 0;
};
struct RunStatus : native::StatusReply {
  std::string cause;  // in place of the reply's, which end with its bytes
  std::string reached_at;
  std::string close_reason;
};
struct RunGone {
  NodeName node;
  native::Departure how = native::Departure::kLeft;
};
struct RunFollowed {
  uint64_t version = 0;
  RunStatus status;
  std::vector<RunGone> gone;
};
struct RunEvent {
  uint64_t number = 0;
  Duration at{};  // by the server's monotonic clock
  native::EventKind kind = native::EventKind::kJoined;
  uint64_t round = 0;
  uint32_t nodes = 0;
  Duration took{};
  NodeName node;  // without an address: none
  std::string text;
};
struct RunTimeline {
  bool known = false;
  Duration now{};  // by the same clock
  uint64_t next = 0;
  std::vector<RunEvent> events;
};
struct RunLeft {
  bool was_listed = false;
  std::string cause;
};
struct RunPage {
  std::vector<RunMember> members;
  std::string cursor;
};

// What has changed under a prefix, or a part of a list of all that is there.
struct PrefixChanges {
  uint64_t position = 0;
  bool begins = false;
  std::string cursor;  // as it is on the wire
  std::vector<std::string> keys;
  std::vector<uint64_t> versions;  // of each; 0: it is gone
  std::vector<TakenBytes> values;
};

// What is in each name space, by the names of the counts; and the server's limits.
struct ServerCensus {
  using Numbers = std::vector<std::pair<std::string, uint64_t>>;
  std::vector<std::pair<std::string, Numbers>> spaces;
  Numbers limits;
};

// Of any operation; std::monostate: it is done.
using NativeResult =
    std::variant<std::monostate, bool, int64_t, TakenBytes, Store::Exchange, Store::Versioned,
                 Store::VersionSet, std::vector<std::string>, std::vector<TakenBytes>, RunJoined,
                 native::KeepAliveReply, native::SubscribeReply, native::ResumeReply, RunLeft,
                 RunStatus, RunPage, RunFollowed, PrefixChanges, ServerCensus, RunTimeline>;

struct NativeOperation {
  // False: it cannot be read, as it is not what the protocol says.
  using Read = bool (*)(TakenBytes body, NativeResult& result);

  NativeRequest request;
  Read read = nullptr;
  // Of an answer that is a list; -1: any.
  int64_t answers = -1;

  NativeResult result_of(TakenBytes body, const std::string& store) const;
};

// A request, and how to read its answer: by `read`, a function of it and of the body.
template <typename Message, typename Reader>
NativeOperation native_operation(NativeRequest request, const Message& message, Reader) {
  static_assert(std::is_empty_v<Reader>, "it knows the answer alone");
  request.ask(message);
  return {std::move(request), [](TakenBytes body, NativeResult& result) {
            typename Message::Is::Reply reply;
            if (!native::take(body.view(), reply)) return false;
            result = Reader{}(reply, body);
            return true;
          }};
}

namespace native_operations {

NativeOperation ping(Duration timeout);
NativeOperation set(Bytes key, Bytes value, Duration ttl, Duration timeout);
NativeOperation read(Bytes key, Duration timeout);
NativeOperation compare_exchange(Bytes key, Bytes expected, Bytes desired, Duration timeout);
NativeOperation add(Bytes key, int64_t amount, Duration timeout);
// To a key as it is on the wire.
NativeOperation add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount, Duration timeout);
NativeOperation check(const std::vector<Bytes>& keys, Duration timeout);
NativeOperation wait(const std::vector<Bytes>& keys, Duration timeout);
NativeOperation delete_key(Bytes key, Duration timeout);
NativeOperation num_keys(Duration timeout);
// A ServerCensus.
NativeOperation spaces(bool every, Duration timeout);
NativeOperation list_keys(Bytes prefix, Duration timeout);
NativeOperation append(Bytes key, Bytes value, Duration timeout);
NativeOperation multi_read(const std::vector<Bytes>& keys, Duration timeout);
NativeOperation multi_set(const std::vector<Bytes>& pairs, Duration timeout);
NativeOperation queue_push(Bytes key, Bytes item, Duration timeout);
// Without `block`, `timeout` is for the answer alone: queue_empty() says what an error means then.
NativeOperation queue_pop(Bytes key, bool block, Duration timeout);
NativeOperation queue_len(Bytes key, Duration timeout);
// `token`: random; tells this call from all others.
NativeOperation barrier(Bytes key, const Store::Seat& seat, uint64_t token, Duration timeout);
NativeOperation exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                         Duration timeout);
NativeOperation try_get(Bytes key, Duration timeout);
NativeOperation watch(Bytes key, uint64_t known_version, Duration timeout);
NativeOperation set_if_version(Bytes key, Bytes value, uint64_t version, Duration timeout);
// What has changed behind a position; where it is not known, all that is there, in parts. `cursor`:
// that of the last part.
NativeOperation watch_prefix(Bytes prefix, uint64_t position, Bytes cursor, Duration timeout);
NativeOperation delete_prefix(Bytes prefix, Duration timeout);

// Whether a pop that was not to wait found nothing.
inline bool queue_is_empty(const NativeRequest& pop, const Error& error) {
  return !pop.server_may_wait && pop.answered && error.code() == ErrorCode::kTimeout;
}

}  // namespace native_operations
}  // namespace rdzv
