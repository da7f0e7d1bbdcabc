#include "server/memory.h"

#include "server/connection.h"
#include "server/context.h"

namespace rdzv {

const SharedAccount kInputAccount{&ConnectionMemory::input,
                                  &ServerMemory::input,
                                  &ServerLimits::input_bytes,
                                  "input_bytes",
                                  nullptr,
                                  "of incomplete requests"};
const SharedAccount kParkedAccount{&ConnectionMemory::parked,
                                   &ServerMemory::parked,
                                   &ServerLimits::parked_bytes,
                                   "parked_bytes",
                                   nullptr,
                                   "of waiting requests"};
const SharedAccount kUnsentAccount{&ConnectionMemory::unsent,   &ServerMemory::unsent,
                                   &ServerLimits::unsent_bytes, "unsent_bytes",
                                   &ConnectionMemory::shared,   "of unread answers"};

namespace {

size_t used_by(const Connection& connection, const SharedAccount& account) {
  const ConnectionMemory& memory = connection.memory();
  const size_t also = account.also_of_one == nullptr ? 0 : (memory.*account.also_of_one).used();
  return (memory.*account.of_one).used() + also;
}

// Of those that are not going already, whose bytes count as given back.
Connection* largest(const ServerContext& context, const SharedAccount& account, size_t& going) {
  Connection* found = nullptr;
  going = 0;
  for (const std::unique_ptr<Connection>& each : context.connections.open) {
    Connection* connection = each.get();
    const size_t used = used_by(*connection, account);
    if (connection->is_ending()) {
      going += used;
    } else if (used > 0 && (found == nullptr || used > used_by(*found, account))) {
      found = connection;
    }
  }
  return found;
}

// Without what is going, and with what is to come.
bool is_exceeded(const ServerContext& context, const SharedAccount& account, size_t going,
                 size_t more = 0) {
  const size_t used = (context.memory.*account.of_all).used() - going + more;
  return used > context.limits.*account.limit;
}

// Nothing of what others have: who is in its name space sees it.
std::string excess_text(const ServerContext& context, const SharedAccount& account, size_t used) {
  return std::to_string(used) + " bytes " + account.what +
         ", more than any other connection; the server's limit " + account.limit_name + " is " +
         std::to_string(context.limits.*account.limit);
}

}  // namespace

bool end_the_largest(ServerContext& context, const SharedAccount& account, size_t more) {
  size_t going = 0;
  while (is_exceeded(context, account, 0, more)) {
    Connection* connection = largest(context, account, going);
    if (!is_exceeded(context, account, going, more)) return true;
    if (connection == nullptr) return false;
    ++context.commons.records.counters.evictions;
    connection->end("it has " + excess_text(context, account, used_by(*connection, account)));
  }
  return true;
}

std::string too_large_text(size_t bytes, uint64_t limit) {
  return "a value of " + std::to_string(bytes) + " bytes; the server's limit value_bytes is " +
         std::to_string(limit);
}

bool ServerContext::has_room(size_t more) const {
  const size_t stored = stored_.bytes() + more;
  return stored <= own_limits.stored_bytes.most && keys_.bytes() < own_limits.keys.most &&
         memory.stored.used() + more <= limits.stored_bytes &&
         memory.counts.keys.used() < limits.keys && memory.used() + more <= limits.memory_bytes;
}

bool ServerContext::is_full(size_t more) {
  note_stored();
  if (has_room(more)) return false;
  // What others have deleted is counted when they store the next time.
  commons.spaces.for_each([](ServerContext& each) { each.note_stored(); });
  return !has_room(more);
}

// Of what others have, it says nothing.
std::string ServerContext::full_text(size_t more) const {
  const std::string keys = std::to_string(keys_.bytes()) + " keys";
  const std::string bytes = std::to_string(stored_.bytes()) + " bytes";
  const std::string advice = "; delete keys that are no longer needed";
  const auto text = [&](const std::string& what, const char* limit, uint64_t value) {
    return what + "; the server's limit " + limit + " is " + std::to_string(value) + advice;
  };
  if (stored_.bytes() + more > own_limits.stored_bytes.most) {
    return "the name space is full: it stores " + bytes + "; " + text_of(own_limits.stored_bytes) +
           advice;
  }
  if (keys_.bytes() >= own_limits.keys.most)
    return "the name space is full: it has " + keys + "; " + text_of(own_limits.keys) + advice;
  if (memory.stored.used() + more > limits.stored_bytes)
    return text("the server is full: " + bytes + " are stored here", "stored_bytes",
                limits.stored_bytes);
  if (memory.counts.keys.used() >= limits.keys)
    return text("the server is full: " + keys + " are here", "keys", limits.keys);
  return text("the server is short of memory: " + bytes + " are stored here", "memory_bytes",
              limits.memory_bytes);
}

std::optional<std::string> ServerContext::refuse_waits(size_t more) {
  const auto has_room = [this, more] {
    return memory.counts.waits.used() + more <= limits.waits &&
           waits_.bytes() + more <= own_limits.waits.most;
  };
  waits_.resize(waits());
  if (has_room()) return std::nullopt;
  commons.spaces.for_each([](ServerContext& each) { each.waits_.resize(each.waits()); });
  if (has_room()) return std::nullopt;
  const bool is_of_space = waits_.bytes() + more > own_limits.waits.most;
  return "too many requests wait; " +
         (is_of_space ? text_of(own_limits.waits)
                      : "the server's limit waits is " + std::to_string(limits.waits));
}

std::optional<std::string> ServerContext::refuse_multi_set(const std::vector<Bytes>& pairs) {
  const size_t keys = pairs.size() / 2;
  const auto text = [keys](const std::string& limit) {
    return "multi_set: " + std::to_string(keys) + " keys at once; " + limit;
  };
  if (keys > limits.keys_per_multi_set) {
    return text("the server's limit keys_per_multi_set is " +
                std::to_string(limits.keys_per_multi_set));
  }
  const auto has_room = [this](size_t more) {
    return keys_.bytes() + more <= own_limits.keys.most &&
           memory.counts.keys.used() + more <= limits.keys;
  };
  if (has_room(keys)) return std::nullopt;
  budget.spend(keys * Budget::kKey);
  size_t added = 0;
  for (size_t i = 0; i < pairs.size(); i += 2) added += state.table().find(pairs[i]) == nullptr;
  if (has_room(added)) return std::nullopt;
  commons.spaces.for_each([](ServerContext& each) { each.note_stored(); });
  if (has_room(added)) return std::nullopt;
  return text(keys_.bytes() + added > own_limits.keys.most
                  ? text_of(own_limits.keys)
                  : "the server's limit keys is " + std::to_string(limits.keys));
}

bool has_room_for_lists(ServerContext& context, Connection& connection) {
  if (context.memory.unsent.used() > context.limits.unsent_bytes)
    end_the_largest(context, kUnsentAccount);
  return !connection.is_ending();
}

std::optional<std::string> refuse_parked(ServerContext& context, Connection& connection,
                                         size_t more) {
  if (std::optional<std::string> refusal = context.refuse_waits(more)) return refusal;
  const size_t used = connection.memory().parked.used();
  const uint64_t limit = context.limits.parked_bytes_per_connection;
  if (used > limit) {
    return "the waiting requests of this connection would take " + std::to_string(used) +
           " bytes; the server's limit parked_bytes_per_connection is " + std::to_string(limit);
  }
  size_t going = 0;
  while (is_exceeded(context, kParkedAccount, 0)) {
    Connection* one = largest(context, kParkedAccount, going);
    if (one == nullptr || !is_exceeded(context, kParkedAccount, going)) break;
    if (one == &connection || used_by(*one, kParkedAccount) <= used)
      return "this connection has " + excess_text(context, kParkedAccount, used);
    one->end("it has " + excess_text(context, kParkedAccount, used_by(*one, kParkedAccount)));
  }
  return std::nullopt;
}

}  // namespace rdzv
