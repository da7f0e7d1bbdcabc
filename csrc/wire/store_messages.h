// The native protocol's messages on keys and queues: what each operation asks, and what is answered.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "wire/fields.h"
#include "wire/limits.h"

namespace rdzv::native {

// What users' keys carry on the wire; others belong to the stores.
inline constexpr Bytes kUsersPrefix = "/";

struct VersionReply {
  uint64_t version = 0;
  static void fields(auto& a, auto& m) { all(a, "version", m.version); }
};
struct CountReply {
  uint64_t count = 0;
  static void fields(auto& a, auto& m) { all(a, "count", m.count); }
};
// Version 0: there is none.
struct ValueReply {
  uint64_t version = 0;
  Value value;
  static void fields(auto& a, auto& m) { all(a, "version", m.version, "value", m.value); }
};

struct SetRequest {
  using Is = Request<Operation::kSet, "set", VersionReply>;
  Key key;
  Value value;
  static void fields(auto& a, auto& m) { all(a, "key", m.key, "value", m.value); }
};

struct GetRequest {
  using Is = Request<Operation::kGet, "get", ValueReply>;
  uint32_t timeout_ms = 0;
  Key key;
  static void fields(auto& a, auto& m) { all(a, "timeout", m.timeout_ms, "key", m.key); }
};

struct CompareSetReply {
  bool swapped = false;
  bool exists = false;
  uint64_t version = 0;
  Value value;  // empty when swapped: who asks knows what it has set
  static void fields(auto& a, auto& m) {
    all(a, "swapped", m.swapped, "exists", m.exists, "version", m.version, "value", m.value);
  }
};
struct CompareSetRequest {
  using Is = Request<Operation::kCompareSet, "compare_set", CompareSetReply>;
  Key key;
  Value expected;
  Value desired;
  static void fields(auto& a, auto& m) {
    all(a, "key", m.key, "expected", m.expected, "desired", m.desired);
  }
};

struct AddReply {
  int64_t sum = 0;
  uint64_t version = 0;
  static void fields(auto& a, auto& m) { all(a, "sum", m.sum, "version", m.version); }
};
struct AddRequest {
  using Is = Request<Operation::kAdd, "add", AddReply>;
  Key key;
  int64_t amount = 0;
  static void fields(auto& a, auto& m) { all(a, "key", m.key, "amount", m.amount); }
};

struct CheckReply {
  bool are_there = false;
  static void fields(auto& a, auto& m) { all(a, "all are there", m.are_there); }
};
struct CheckRequest {
  using Is = Request<Operation::kCheck, "check", CheckReply>;
  Keys keys;
  static void fields(auto& a, auto& m) { all(a, "keys", m.keys); }
};

struct WaitRequest {
  using Is = Request<Operation::kWait, "wait", Nothing>;
  uint32_t timeout_ms = 0;
  Keys keys;
  static void fields(auto& a, auto& m) { all(a, "timeout", m.timeout_ms, "keys", m.keys); }
};

struct DeleteKeyReply {
  bool was_there = false;
  static void fields(auto& a, auto& m) { all(a, "was there", m.was_there); }
};
struct DeleteKeyRequest {
  using Is = Request<Operation::kDeleteKey, "delete_key", DeleteKeyReply>;
  Key key;
  static void fields(auto& a, auto& m) { all(a, "key", m.key); }
};

struct NumKeysRequest : Nothing {
  using Is = Request<Operation::kNumKeys, "num_keys", CountReply>;
};

struct ListKeysReply {
  List<Key, limits::kRequestBytesMax> keys;
  static void fields(auto& a, auto& m) { all(a, "key", m.keys); }
};
struct ListKeysRequest {
  using Is = Request<Operation::kListKeys, "list_keys", ListKeysReply>;
  Key prefix;
  static void fields(auto& a, auto& m) { all(a, "prefix", m.prefix); }
};

struct AppendRequest {
  using Is = Request<Operation::kAppend, "append", VersionReply>;
  Key key;
  Value value;
  static void fields(auto& a, auto& m) { all(a, "key", m.key, "value", m.value); }
};

struct MultiGetReply {
  List<ValueReply, limits::kKeysPerRequestMax> values;
  static void fields(auto& a, auto& m) { all(a, "values", m.values); }
};
struct MultiGetRequest {
  using Is = Request<Operation::kMultiGet, "multi_get", MultiGetReply>;
  uint32_t timeout_ms = 0;
  Keys keys;
  static void fields(auto& a, auto& m) { all(a, "timeout", m.timeout_ms, "keys", m.keys); }
};

struct MultiSetRequest {
  using Is = Request<Operation::kMultiSet, "multi_set", Nothing>;
  Pairs pairs;
  static void fields(auto& a, auto& m) { all(a, "pairs", m.pairs); }
};

struct QueuePushRequest {
  using Is = Request<Operation::kQueuePush, "queue_push", Nothing>;
  Key key;
  Value item;
  static void fields(auto& a, auto& m) { all(a, "key", m.key, "item", m.item); }
};

struct QueuePopReply {
  Value item;
  static void fields(auto& a, auto& m) { all(a, "item", m.item); }
};
struct QueuePopRequest {
  using Is = Request<Operation::kQueuePop, "queue_pop", QueuePopReply>;
  uint32_t timeout_ms = 0;
  Key key;
  static void fields(auto& a, auto& m) { all(a, "timeout", m.timeout_ms, "key", m.key); }
};

struct QueueLenRequest {
  using Is = Request<Operation::kQueueLen, "queue_len", CountReply>;
  Key key;
  static void fields(auto& a, auto& m) { all(a, "key", m.key); }
};

struct BarrierRequest {
  using Is = Request<Operation::kBarrier, "barrier", Nothing>;
  uint32_t timeout_ms = 0;
  Key key;
  int64_t world_size = 0;
  int64_t rank = kRanklessCaller;
  int64_t round = 1;
  uint64_t token = 0;
  static void fields(auto& a, auto& m) {
    all(a, "timeout", m.timeout_ms, "key", m.key, "world size", m.world_size);
    all(a, "rank", m.rank, "round", m.round, "token", m.token);
  }
};

struct TryGetRequest {
  using Is = Request<Operation::kTryGet, "try_get", ValueReply>;
  Key key;
  static void fields(auto& a, auto& m) { all(a, "key", m.key); }
};

struct WatchRequest {
  using Is = Request<Operation::kWatch, "watch", ValueReply>;
  uint32_t timeout_ms = 0;
  Key key;
  uint64_t known_version = 0;
  static void fields(auto& a, auto& m) {
    all(a, "timeout", m.timeout_ms, "key", m.key, "known version", m.known_version);
  }
};

struct SetIfVersionReply {
  bool swapped = false;
  uint64_t version = 0;
  static void fields(auto& a, auto& m) { all(a, "swapped", m.swapped, "version", m.version); }
};
struct SetIfVersionRequest {
  using Is = Request<Operation::kSetIfVersion, "set_if_version", SetIfVersionReply>;
  Key key;
  Value value;
  uint64_t version = 0;
  static void fields(auto& a, auto& m) {
    all(a, "key", m.key, "value", m.value, "version", m.version);
  }
};

struct SetForRequest {
  using Is = Request<Operation::kSetFor, "set_for", VersionReply>;
  static constexpr const char* kSpokenName = "set with a time to live";
  uint64_t ttl_ms = 0;
  Key key;
  Value value;
  static void fields(auto& a, auto& m) {
    all(a, "time to live", m.ttl_ms, "key", m.key, "value", m.value);
  }
};

struct DeletePrefixRequest {
  using Is = Request<Operation::kDeletePrefix, "delete_prefix", CountReply>;
  Key prefix;
  static void fields(auto& a, auto& m) { all(a, "prefix", m.prefix); }
};

struct ExchangeReply {
  List<Value, limits::kKeysPerRequestMax> values;
  static void fields(auto& a, auto& m) { all(a, "value", m.values); }
};
struct ExchangeRequest {
  using Is = Request<Operation::kExchange, "exchange", ExchangeReply>;
  uint32_t timeout_ms = 0;
  Key key;
  int64_t rank = 0;
  int64_t world_size = 0;
  Value value;
  static void fields(auto& a, auto& m) {
    all(a, "timeout", m.timeout_ms, "key", m.key, "rank", m.rank);
    all(a, "world size", m.world_size, "value", m.value);
  }
};

struct WatchPrefixReply {
  struct Item {
    Limited<limits::kWireKeyBytesMax> key;
    uint64_t version = 0;  // 0: it is gone
    Value value;
    static void fields(auto& a, auto& m) {
      all(a, "key", m.key, "version", m.version, "value", m.value);
    }
  };
  uint64_t position = 0;  // up to which all is known with this answer
  bool begins = false;    // the first part of a list of all that is there
  // Of such a list, where the next part goes on; empty: it is whole.
  Limited<limits::kWireKeyBytesMax> cursor;
  List<Item, limits::kRequestBytesMax> items;
  static void fields(auto& a, auto& m) {
    all(a, "position", m.position, "begins", m.begins, "cursor", m.cursor, "items", m.items);
  }
};
struct WatchPrefixRequest {
  using Is = Request<Operation::kWatchPrefix, "watch_prefix", WatchPrefixReply>;
  uint32_t timeout_ms = 0;
  Key prefix;
  uint64_t position = 0;
  Limited<limits::kWireKeyBytesMax> cursor;
  static void fields(auto& a, auto& m) {
    all(a, "timeout", m.timeout_ms, "prefix", m.prefix, "position", m.position);
    all(a, "cursor", m.cursor);
  }
};

}  // namespace rdzv::native
