// What connections make the server keep beside the stored keys, counted in bytes: of one connection
// and of all together. When all together have too much, whoever has most has to go, so that nobody
// can take from the others what they need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/memory_account.h"
#include "server/limits.h"
#include "server/output.h"

namespace rdzv {

class Connection;
struct ServerContext;

struct ServerMemory {
  // Of all name spaces in one turn, at most.
  static constexpr size_t kKeysExpiredATurn = 1024;

  MemoryAccount input;   // of incomplete requests yet
  MemoryAccount parked;  // blocked requests
  MemoryAccount unsent;  // replies; what many are sent is counted once
  MemoryAccount runs;
  MemoryAccount stored;    // keys, values and queues
  MemoryAccount feeds;     // what is remembered of their changes
  MemoryAccount sessions;  // of TLS
  struct Counts {          // not bytes: how many
    MemoryAccount keys;
    MemoryAccount runs;
    MemoryAccount waits;
  };
  Counts counts;

  size_t used() const {
    return input.used() + parked.used() + unsent.used() + runs.used() + stored.used() +
           feeds.used() + sessions.used();
  }
  SharedLedger shared{&unsent};
  size_t keys_to_expire = kKeysExpiredATurn;  // in this turn
};

struct ConnectionMemory {
  explicit ConnectionMemory(ServerMemory& all)
      : input(&all.input), parked(&all.parked), unsent(&all.unsent) {}
  MemoryAccount input;
  MemoryAccount parked;
  MemoryAccount unsent;
  // Of replies the bytes that others may be sent as well. All together they are counted by
  // ServerMemory::shared.
  MemoryAccount shared;
};

// Of a value that is larger than the server's clients may have.
std::string too_large_text(size_t bytes, uint64_t limit);

// One of the accounts: of a connection, of all, and how much all may have.
struct SharedAccount {
  MemoryAccount ConnectionMemory::* of_one;
  MemoryAccount ServerMemory::* of_all;
  uint64_t ServerLimits::* limit;
  const char* limit_name;
  MemoryAccount ConnectionMemory::* also_of_one;  // null: nothing
  const char* what;                               // "replies that were not read"
};

extern const SharedAccount kInputAccount;
extern const SharedAccount kParkedAccount;
extern const SharedAccount kUnsentAccount;

// Ends the connections that have most until there is room for so many bytes more. False: there
// would not be if all had gone.
bool end_the_largest(ServerContext& context, const SharedAccount& account, size_t more = 0);

// While lists are made: ends whoever has most until all have no more than they may. False: this
// connection is among them.
bool has_room_for_lists(ServerContext& context, Connection& connection);

// After a request was parked for this connection: why it cannot stay so, if it cannot.
// `more`: those that are to be parked still.
std::optional<std::string> refuse_parked(ServerContext& context, Connection& connection,
                                         size_t more = 0);

}  // namespace rdzv
