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

std::string excess_text(const ServerContext& context, const SharedAccount& account, size_t used) {
  return std::to_string(used) + " bytes " + account.what +
         ", more than any other connection; all connections together have " +
         std::to_string((context.memory.*account.of_all).used()) + "; the server's limit " +
         account.limit_name + " is " + std::to_string(context.limits.*account.limit);
}

}  // namespace

bool end_the_largest(ServerContext& context, const SharedAccount& account, size_t more) {
  size_t going = 0;
  while (is_exceeded(context, account, 0, more)) {
    Connection* connection = largest(context, account, going);
    if (!is_exceeded(context, account, going, more)) return true;
    if (connection == nullptr) return false;
    connection->end("it has " + excess_text(context, account, used_by(*connection, account)));
  }
  return true;
}

std::string ServerContext::full_text() const {
  return "the server is full: it stores " + std::to_string(state.table().bytes()) +
         " bytes, and its limit stored_bytes is " + std::to_string(limits.stored_bytes) +
         "; delete keys that are no longer needed";
}

std::optional<std::string> ServerContext::refuse_multi_set(size_t keys) const {
  if (keys <= limits.keys_per_multi_set) return std::nullopt;
  return "multi_set: " + std::to_string(keys) +
         " keys at once; the server's limit keys_per_multi_set is " +
         std::to_string(limits.keys_per_multi_set);
}

bool has_room_for_lists(ServerContext& context, Connection& connection) {
  if (context.memory.unsent.used() > context.limits.unsent_bytes)
    end_the_largest(context, kUnsentAccount);
  return !connection.is_ending();
}

std::optional<std::string> refuse_parked(ServerContext& context, Connection& connection) {
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
