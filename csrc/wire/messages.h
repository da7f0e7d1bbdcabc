// All messages of the native protocol; docs/protocol.md says what they mean. An operation is its code
// in wire/native.h, its messages, and its place in Requests.
#pragma once

#include <cstdint>
#include <optional>
#include <tuple>

#include "base/error.h"
#include "wire/fields.h"
#include "wire/run_look_messages.h"
#include "wire/run_messages.h"
#include "wire/store_messages.h"

namespace rdzv::native {

// A server that a node of a job hosts for that job, and that ends with it. At others, jobs need run
// ids of their own.
inline constexpr uint32_t kOfOneJob = 1;

struct HelloReply {
  uint16_t version = kVersion;
  uint32_t features = 0;  // kOfOneJob
  Id128 instance{};       // changes when a server starts without what the old one knew
  Text observed_address;  // numeric, the client's as the server sees it
  Text server;            // free text: program and version
  uint32_t key_bytes_max = 0;
  uint32_t value_bytes_max = 0;
  uint32_t keys_per_request_max = 0;
  static void fields(auto& a, auto& m) {
    all(a, "version", m.version, "features", m.features, "instance", m.instance);
    all(a, "observed address", m.observed_address, "server", m.server);
    all(a, "longest wire key", m.key_bytes_max, "longest value", m.value_bytes_max);
    all(a, "most keys a request", m.keys_per_request_max);
  }
};
struct HelloRequest {
  using Is = Request<Operation::kHello, "hello", HelloReply>;
  uint32_t features = 0;  // none defined in this version
  Id128 session{};        // random; stays the same when a client reconnects
  Text space;             // the name space; empty: that of the connection's token
  Text client;            // free text for the server's log: program and version
  static void fields(auto& a, auto& m) {
    all(a, "features", m.features, "session", m.session);
    all(a, "space", m.space, "client", m.client);
  }
};

// An answer with a status that is not 0. `missing`, with a timeout: of a barrier or an exchange
// ranks, of a list of keys positions.
struct ErrorReply {
  Text message;
  std::optional<List<uint32_t, kMissingMax>> missing;
  static void fields(auto& a, auto& m) { all(a, "message", m.message, "missing", m.missing); }
};

struct PingRequest : Nothing {
  using Is = Request<Operation::kPing, "ping", Nothing>;
};

enum class RequestId : uint64_t { kLast = (uint64_t{1} << kIdBits) - 1 };

struct CancelRequest {
  using Is = Request<Operation::kCancel, "cancel", NoReply>;
  uint16_t channel = 0;
  RequestId id{};
  static void fields(auto& a, auto& m) { all(a, "channel", m.channel, "request id", m.id); }
};

// Of the channel that it comes on.
struct CloseChannelRequest : Nothing {
  using Is = Request<Operation::kCloseChannel, "close_channel", Nothing>;
};

// What is in a name space, and what the server lets its clients use.
struct SpacesReply {
  struct Space {
    Text name;
    uint64_t keys = 0;
    uint64_t stored_bytes = 0;
    uint64_t connections = 0;
    uint64_t runs = 0;
    uint64_t run_bytes = 0;
    uint64_t waits = 0;
    static void fields(auto& a, auto& m) {
      all(a, "name", m.name, "keys", m.keys, "stored bytes", m.stored_bytes);
      all(a, "connections", m.connections, "runs", m.runs, "bytes of runs", m.run_bytes);
      all(a, "waiting requests", m.waits);
    }
  };
  struct Limit {
    Text name;
    uint64_t value = 0;
    static void fields(auto& a, auto& m) { all(a, "name", m.name, "value", m.value); }
  };
  List<Space, limits::kSpacesPerReplyMax> spaces;
  List<Limit, limits::kServerLimitsMax> limits;
  static void fields(auto& a, auto& m) { all(a, "spaces", m.spaces, "limits", m.limits); }
};
struct SpacesRequest {
  using Is = Request<Operation::kSpaces, "spaces", SpacesReply>;
  bool every = false;  // for an admin; others get their own alone
  static void fields(auto& a, auto& m) { all(a, "all", m.every); }
};

// All of them, by code.
using Requests =
    std::tuple<HelloRequest, PingRequest, SetRequest, GetRequest, CompareSetRequest, AddRequest,
               CheckRequest, WaitRequest, DeleteKeyRequest, NumKeysRequest, ListKeysRequest,
               AppendRequest, MultiGetRequest, MultiSetRequest, CancelRequest, QueuePushRequest,
               QueuePopRequest, QueueLenRequest, BarrierRequest, TryGetRequest, WatchRequest,
               SetIfVersionRequest, SetForRequest, DeletePrefixRequest, ExchangeRequest,
               JoinRequest, LeaveRequest, KeepAliveRequest, CloseRunRequest, StatusRequest,
               SubscribeRequest, MembersRequest, ResumeRequest, CloseChannelRequest, FollowRequest,
               WatchPrefixRequest, HostsRequest, SpacesRequest, TimelineRequest>;
inline constexpr uint8_t kOperationMax = std::tuple_size_v<Requests>;

// Calls `visit` with a pointer, which is null, to the type of each.
template <typename Visit>
void for_each_request(Visit&& visit) {
  [&]<typename... Each>(std::tuple<Each...>*) {
    (visit(static_cast<Each*>(nullptr)), ...);
  }(static_cast<Requests*>(nullptr));
}

}  // namespace rdzv::native
