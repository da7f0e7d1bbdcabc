// One protocol spoken on one connection: bytes in, operations on the state, replies out.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "server/context.h"
#include "store/table.h"

namespace rdzv {

// Who has blocked requests in the table. All owners of a server's table are of this kind.
class Waiting : public Table::WaiterOwner {
 public:
  // What its requests take while they wait is charged to `parked`.
  explicit Waiting(MemoryAccount& parked) : WaiterOwner(&parked) {}
  virtual ~Waiting() = default;

  // A wait that it owns is satisfied: its keys are there, now.
  virtual void on_woken(const Table::Woken& woken) = 0;
};

class Protocol {
 public:
  explicit Protocol(Connection& connection) : connection_(connection) {}
  Protocol(const Protocol&) = delete;
  Protocol& operator=(const Protocol&) = delete;
  virtual ~Protocol() = default;

  // Handles the whole requests at the beginning of `input` until the connection is congested or
  // the context's budget is spent, and returns how many bytes they took. Called again with the rest
  // and what came behind it. `value`: belongs to the first of them (value_begin()). A peer that breaks the protocol: connection().close(why).
  virtual size_t consume(Bytes input, Bytes value) = 0;

  // A request was begun and is not answered, because the budget was spent first.
  virtual bool is_in_request() const = 0;

  // Nothing is read until some of what it has put aside is done.
  virtual bool is_held_back() const { return false; }
  // More of the replies was sent.
  virtual void on_sent() {}

  // Of the request that is not whole yet: how many bytes are missing at least.
  virtual size_t missing() const = 0;
  // Of the request at the beginning of this input, which is not whole: where its last part begins,
  // if that is a value and large. Then only what comes before it is handed to consume() again, when
  // all is there, and the value beside it. 0: it is none.
  virtual size_t value_begin(Bytes) const { return 0; }
  // Of a request that looks like one that was seen before: how many bytes are missing if it is the
  // same. 0: nothing is known.
  virtual size_t expected() const { return 0; }

  // The peer has said who it is: before that it may send little, and has little time.
  virtual bool greeted() const = 0;

  // What it keeps of a request that is not whole, beside the bytes themselves.
  virtual size_t scanned_bytes() const { return 0; }

  // The connection is gone: lets go of what could call back, as far as the budget goes. True: of
  // everything. Until then it may be called back, and tells nobody.
  virtual bool leave(Budget& budget) = 0;

 protected:
  Connection& connection() const { return connection_; }

 private:
  Connection& connection_;
};

std::unique_ptr<Protocol> make_c10d_protocol(Connection& connection, ServerContext& context);
std::unique_ptr<Protocol> make_native_protocol(Connection& connection, ServerContext& context);

}  // namespace rdzv
