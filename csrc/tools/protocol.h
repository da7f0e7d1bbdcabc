// The protocols that the load driver speaks: requests as bytes, and where an answer ends. One small
// interface, so that any two servers can be put side by side under the same load. No sockets, no
// clock. Knows nothing of scenarios.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "tools/options.h"

namespace rdzv::tools {

// What a connection asked: tells how its answer is read.
enum class Ask : uint8_t {
  kHello,
  kSet,
  kGet,
  kAdd,
  kCompareSet,
  kCheck,
  kWait,
  kRelease,
  kBarrier,
  kExchange,
  kGather,
  kMultiSet,
  kJoin,
  kKeepAlive,
  kSubscribe,
};

struct Answer {
  // What it answers, where answers say so and may overtake each other.
  std::optional<Ask> ask;
  // Of the whole answer. May be more than what has arrived: then the rest is nothing but value
  // bytes, which the caller throws away as they come.
  size_t bytes = 0;
  int64_t number = 0;  // a sum (kAdd)
  Bytes body;          // native: of answers that are read further; a view into the input
  std::string error;   // not empty: the server said no
};

class Protocol {
 public:
  static std::unique_ptr<Protocol> make(Wire wire);
  virtual ~Protocol() = default;

  virtual void put_hello(std::string& out, uint32_t nonce) = 0;
  // `acknowledged`: whoever asks waits for the answer, so a protocol without one appends the
  // cheapest request that has one. Returns whether an answer will come.
  virtual bool put_set(std::string& out, Bytes key, Bytes value, bool acknowledged) = 0;
  virtual void put_get(std::string& out, Bytes key) = 0;
  virtual void put_add(std::string& out, Bytes key) = 0;
  virtual void put_compare_set(std::string& out, Bytes key, Bytes value) = 0;
  virtual void put_check(std::string& out, Bytes key) = 0;
  // Ends when somebody has released the key; put_release's answer is as put_set's.
  virtual void put_wait(std::string& out, Bytes key) = 0;
  virtual bool put_release(std::string& out, Bytes key) = 0;
  // What not every protocol has: these throw Error{kUnsupported} by default.
  virtual void put_barrier(std::string&, Bytes /*key*/, uint64_t /*world_size*/) {
    cannot("barrier");
  }
  // Gives a value and asks for all ranks' values. False: the answer (of a kBarrier) only says that
  // all have come, and put_gather asks for the values.
  virtual bool put_exchange(std::string&, Bytes /*key*/, uint64_t /*rank*/, uint64_t /*world_size*/,
                            Bytes /*value*/) {
    cannot("exchange");
  }
  virtual void put_gather(std::string&, Bytes /*key*/, uint64_t /*world_size*/, size_t /*bytes*/) {
    cannot("gather");
  }
  // WAIT and MULTI_GET of keys that put_multi_set of the same prefix has set.
  virtual void put_wait_all(std::string&, Bytes /*prefix*/, size_t /*keys*/) {
    cannot("a wait for many keys");
  }
  virtual void put_multi_get(std::string&, Bytes /*prefix*/, size_t /*keys*/, size_t /*bytes*/) {
    cannot("multi_get");
  }
  virtual void put_multi_set(std::string&, Bytes /*prefix*/, size_t /*keys*/, Bytes /*value*/) {
    cannot("multi_set");
  }

  // Gives a request made by put_* its id, where the protocol has ids.
  virtual void stamp(char* /*request*/, uint64_t /*id*/) {}

  // Reads the beginning of an answer; false when more bytes are needed to tell.
  virtual bool read(Ask ask, Bytes input, Answer& answer) = 0;

 protected:
  explicit Protocol(Wire wire) : wire_(wire) {}
  [[noreturn]] void cannot(const char* what) const;

 private:
  Wire wire_;
};

// One a file; `make` chooses.
std::unique_ptr<Protocol> make_c10d();
std::unique_ptr<Protocol> make_native();
std::unique_ptr<Protocol> make_resp();
std::unique_ptr<Protocol> make_memcached();

}  // namespace rdzv::tools
