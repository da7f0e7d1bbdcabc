#include "client/native_operations.h"

#include <algorithm>

#include "base/error.h"
#include "store/meeting.h"

namespace rdzv {

NativeResult NativeOperation::result_of(TakenBytes body, const std::string& store) const {
  NativeResult result;
  if (!read(std::move(body), result)) request.throw_unreadable(store);
  if (answers >= 0 &&
      std::get<std::vector<TakenBytes>>(result).size() != static_cast<uint64_t>(answers))
    request.throw_unreadable(store);
  return result;
}

namespace native_operations {
namespace {

constexpr auto kDone = [](const auto&, TakenBytes&) { return NativeResult(); };
constexpr auto kCount = [](const native::CountReply& reply, TakenBytes&) {
  return NativeResult(static_cast<int64_t>(reply.count));
};
constexpr auto kVersioned = [](const native::ValueReply& reply, TakenBytes& body) {
  const uint64_t version = reply.version;
  return NativeResult(Store::Versioned{std::move(body).part(reply.value), version});
};
constexpr auto kSum = [](const native::AddReply& reply, TakenBytes&) {
  return NativeResult(reply.sum);
};

// What the list is of.
NativeResult taken(const std::vector<Bytes>& values, TakenBytes& body) {
  return std::move(body).split(values);
}

Bytes without_users_prefix(Bytes wire_key) {
  return wire_key.substr(std::min(native::kUsersPrefix.size(), wire_key.size()));
}

NativeRequest write(Bytes key, Duration timeout) {
  return {key, timeout, true};
}

}  // namespace

NativeOperation ping(Duration timeout) {
  return native_operation({{}, timeout}, native::PingRequest(), kDone);
}

// Sent again, one with a time to live could undo what another client has set meanwhile: a write like
// any other.
NativeOperation set(Bytes key, Bytes value, Duration ttl, Duration timeout) {
  check_value("set", key, value);
  check_time_to_live(key, ttl);
  if (ttl >= kForever)
    return native_operation(write(key, timeout), native::SetRequest{key, value}, kDone);
  auto ttl_ms = std::chrono::ceil<std::chrono::milliseconds>(ttl).count();
  return native_operation(write(key, timeout),
                          native::SetForRequest{static_cast<uint64_t>(ttl_ms), key, value}, kDone);
}

NativeOperation read(Bytes key, Duration timeout) {
  check_key("get", key);
  return native_operation({key, timeout, false, true}, native::GetRequest{0, key},
                          [](const native::ValueReply& reply, TakenBytes& body) {
                            return NativeResult(std::move(body).part(reply.value));
                          });
}

NativeOperation compare_exchange(Bytes key, Bytes expected, Bytes desired, Duration timeout) {
  check_value("compare_set", key, expected);
  check_value("compare_set", key, desired);
  return native_operation(write(key, timeout), native::CompareSetRequest{key, expected, desired},
                          [](const native::CompareSetReply& reply, TakenBytes& body) {
                            Store::Exchange exchange;
                            exchange.swapped = reply.swapped;
                            exchange.exists = reply.exists;
                            exchange.version = reply.version;
                            if (!reply.swapped) exchange.value = std::move(body).part(reply.value);
                            return NativeResult(std::move(exchange));
                          });
}

NativeOperation add(Bytes key, int64_t amount, Duration timeout) {
  check_key("add", key);
  return native_operation(write(key, timeout), native::AddRequest{key, amount}, kSum);
}

NativeOperation add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount, Duration timeout) {
  NativeRequest request = write(shown_key, timeout);
  request.has_wire_key = true;
  return native_operation(std::move(request), native::AddRequest{wire_key, amount}, kSum);
}

NativeOperation check(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("check", keys);
  return native_operation(
      {{}, timeout, false, false, &keys}, native::CheckRequest{{keys}},
      [](const native::CheckReply& reply, TakenBytes&) { return NativeResult(reply.are_there); });
}

NativeOperation wait(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("wait", keys);
  return native_operation({{}, timeout, false, true, &keys}, native::WaitRequest{0, {keys}}, kDone);
}

NativeOperation delete_key(Bytes key, Duration timeout) {
  check_key("delete_key", key);
  return native_operation(write(key, timeout), native::DeleteKeyRequest{key},
                          [](const native::DeleteKeyReply& reply, TakenBytes&) {
                            return NativeResult(reply.was_there);
                          });
}

NativeOperation num_keys(Duration timeout) {
  return native_operation({{}, timeout}, native::NumKeysRequest(), kCount);
}

NativeOperation spaces(bool every, Duration timeout) {
  return native_operation({{}, timeout}, native::SpacesRequest{every},
                          [](const native::SpacesReply& reply, TakenBytes&) {
                            ServerCensus census;
                            for (const native::SpacesReply::Space& space : reply.spaces) {
                              census.spaces.push_back({std::string(space.name),
                                                       {{"keys", space.keys},
                                                        {"stored_bytes", space.stored_bytes},
                                                        {"connections", space.connections},
                                                        {"runs", space.runs},
                                                        {"run_bytes", space.run_bytes},
                                                        {"waits", space.waits}}});
                            }
                            for (const native::SpacesReply::Limit& limit : reply.limits)
                              census.limits.emplace_back(std::string(limit.name), limit.value);
                            return NativeResult(std::move(census));
                          });
}

NativeOperation list_keys(Bytes prefix, Duration timeout) {
  check_key("list_keys", prefix);
  return native_operation({prefix, timeout}, native::ListKeysRequest{prefix},
                          [](const native::ListKeysReply& reply, TakenBytes&) {
                            std::vector<std::string> keys;
                            for (const native::Key& key : reply.keys)
                              keys.emplace_back(without_users_prefix(key));
                            std::sort(keys.begin(), keys.end());
                            return NativeResult(std::move(keys));
                          });
}

NativeOperation append(Bytes key, Bytes value, Duration timeout) {
  check_value("append", key, value);
  return native_operation(write(key, timeout), native::AppendRequest{key, value}, kDone);
}

NativeOperation multi_read(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("multi_get", keys);
  return native_operation({{}, timeout, false, true, &keys}, native::MultiGetRequest{0, {keys}},
                          [](const native::MultiGetReply& reply, TakenBytes& body) {
                            std::vector<Bytes> values;
                            values.reserve(reply.values.size());
                            for (const native::ValueReply& each : reply.values)
                              values.push_back(each.value);
                            return taken(values, body);
                          });
}

NativeOperation multi_set(const std::vector<Bytes>& pairs, Duration timeout) {
  check_pairs("multi_set", pairs);
  return native_operation(write({}, timeout), native::MultiSetRequest{{pairs}}, kDone);
}

NativeOperation queue_push(Bytes key, Bytes item, Duration timeout) {
  check_value("queue_push", key, item);
  return native_operation(write(key, timeout), native::QueuePushRequest{key, item}, kDone);
}

NativeOperation queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  NativeRequest request{key, timeout, true, true};
  request.server_may_wait = block;
  return native_operation(std::move(request), native::QueuePopRequest{0, key},
                          [](const native::QueuePopReply& reply, TakenBytes& body) {
                            return NativeResult(std::move(body).part(reply.item));
                          });
}

NativeOperation queue_len(Bytes key, Duration timeout) {
  check_key("queue_len", key);
  return native_operation({key, timeout}, native::QueueLenRequest{key}, kCount);
}

NativeOperation barrier(Bytes key, const Store::Seat& seat, uint64_t token, Duration timeout) {
  const BarrierCall call{seat, key, key, token};
  check_barrier(call);
  // Repeatable with a rank: the server knows the call by its token.
  NativeRequest request{call.key, timeout, !call.has_rank(), true};
  request.names_ranks = call.has_rank();
  return native_operation(
      std::move(request),
      native::BarrierRequest{0, call.key, call.world_size,
                             call.has_rank() ? call.rank : native::kRanklessCaller, call.round,
                             call.token},
      kDone);
}

// Repeatable: the server counts a rank once.
NativeOperation exchange(Bytes key, int64_t rank, int64_t world_size, Bytes value,
                         Duration timeout) {
  check_exchange({key, key, rank, world_size, value});
  NativeRequest request{key, timeout, false, true};
  request.names_ranks = true;
  NativeOperation operation = native_operation(
      std::move(request), native::ExchangeRequest{0, key, rank, world_size, value},
      [](const native::ExchangeReply& reply, TakenBytes& body) {
        return taken(std::vector<Bytes>(reply.values.begin(), reply.values.end()), body);
      });
  operation.answers = world_size;
  return operation;
}

NativeOperation try_get(Bytes key, Duration timeout) {
  check_key("try_get", key);
  return native_operation({key, timeout}, native::TryGetRequest{key}, kVersioned);
}

NativeOperation watch(Bytes key, uint64_t known_version, Duration timeout) {
  check_key("watch", key);
  return native_operation({key, timeout, false, true}, native::WatchRequest{0, key, known_version},
                          kVersioned);
}

NativeOperation set_if_version(Bytes key, Bytes value, uint64_t version, Duration timeout) {
  check_value("set_if_version", key, value);
  return native_operation(write(key, timeout), native::SetIfVersionRequest{key, value, version},
                          [](const native::SetIfVersionReply& reply, TakenBytes&) {
                            return NativeResult(Store::VersionSet{reply.swapped, reply.version});
                          });
}

NativeOperation watch_prefix(Bytes prefix, uint64_t position, Bytes cursor, Duration timeout) {
  check_key("watch_prefix", prefix);
  NativeRequest request{prefix, timeout, false, true};
  request.key_is = "prefix";
  return native_operation(std::move(request),
                          native::WatchPrefixRequest{0, prefix, position, cursor},
                          [](const native::WatchPrefixReply& reply, TakenBytes& body) {
                            PrefixChanges found;
                            found.position = reply.position;
                            found.begins = reply.begins;
                            found.cursor = std::string(reply.cursor);
                            std::vector<Bytes> values;
                            for (const native::WatchPrefixReply::Item& item : reply.items) {
                              found.keys.emplace_back(without_users_prefix(item.key));
                              found.versions.push_back(item.version);
                              values.push_back(item.value);
                            }
                            found.values = std::move(body).split(values);
                            return NativeResult(std::move(found));
                          });
}

NativeOperation delete_prefix(Bytes prefix, Duration timeout) {
  check_key("delete_prefix", prefix);
  return native_operation(write(prefix, timeout), native::DeletePrefixRequest{prefix}, kCount);
}

}  // namespace native_operations
}  // namespace rdzv
