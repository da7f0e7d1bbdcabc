// The c10d protocol's side of a connection (wire/c10d.h says what it is). It has no error answers:
// a request that cannot be served ends the connection with a log line that names peer, operation
// and reason. Lists of keys that many ask for are in c10d_lists.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/connection.h"
#include "server/long_request.h"
#include "server/protocol.h"
#include "server/rights.h"
#include "wire/c10d.h"

namespace rdzv {

// WAIT, CHECK and MULTI_GET of the same keys differ in their code alone.
inline bool is_of_keys(c10d::Code code) {
  return code == c10d::Code::kWait || code == c10d::Code::kCheck || code == c10d::Code::kMultiGet;
}

class C10dProtocol final : public Protocol, private Waiting {
 public:
  C10dProtocol(Connection& connection, ServerContext& context)
      : Protocol(connection), Waiting(connection.memory().parked), context_(context) {}

  size_t consume(Bytes input, Bytes) override {
    context_.expire();
    size_t consumed = 0;
    while (!connection().closed() && finish_list() && finish_cancel() && finish_known() &&
           !connection().congested() && !context_.budget.is_spent() && consumed < input.size()) {
      size_t unsent = connection().unsent();
      size_t used = 0;
      if (is_of_keys(static_cast<c10d::Code>(input[consumed])))
        used = consume_known(input.substr(consumed));
      consumed += used;
      if (used > 0) {
        spend(used + connection().unsent() - unsent);
        continue;
      }
      if (guess_ != nullptr) break;
      c10d::Request& request = context_.composed.c10d_request;
      c10d::Progress progress = decoder_.next(input.substr(consumed), request, used);
      if (progress == c10d::Progress::kNeedMore) break;
      if (progress == c10d::Progress::kInvalid) {
        connection().close(decoder_.error());
        break;
      }
      consumed += used;
      handle(request);
      spend(used + connection().unsent() - unsent);
      context_.budget.spend(request.strings.size() * Budget::kKey);
    }
    return consumed;
  }

  bool is_in_request() const override {
    return list_.has_value() || is_cancelling_ || known_.has_value();
  }
  size_t missing() const override { return guess_ != nullptr ? 1 : decoder_.missing(); }
  size_t expected() const override {
    return guess_ != nullptr ? guess_->text().size() - compared_ : 0;
  }
  bool greeted() const override { return validated_; }
  size_t scanned_bytes() const override { return decoder_.scanned_bytes(); }

  bool leave(Budget& budget) override {
    if (!drop_waits(budget)) return false;
    pass_turns(nullptr);
    return true;
  }

  void on_woken(const Table::Woken& woken) override {
    if (connection().closed()) return pass_turn(woken);
    // At a value nobody has a turn.
    const bool may_pop = connection().role() != tls::Role::kReader;
    if (may_pop && woken.keys->size() == 1 &&
        context_.state.table().queue_size(woken.keys->front()) > 0)
      take_turn(woken.keys->front());
    stop_waiting();
  }

 private:
  std::string& out() { return connection().out(); }
  // For a request, of so many bytes with its answer.
  void spend(size_t bytes) {
    context_.budget.spend(Budget::kRequest + bytes / Budget::kBytesAUnit);
    context_.budget.count_request();
  }

  size_t consume_known(Bytes input);
  bool finish_known();
  bool check_or_wait(c10d::Code code, const SharedKeys& keys);
  void handle(const c10d::Request& request);
  bool is_allowed(c10d::Code code);
  void handle_write(const c10d::Request& request);
  void handle_read(const c10d::Request& request);
  SharedKeys shared_keys(const c10d::Request& request);
  void multi_get(const std::vector<Bytes>& keys);
  void refuse_large_answer();
  void put_value_of(Bytes key);
  void put_value(const ValueBytes& value);
  std::optional<int64_t> add(Bytes key, int64_t amount);
  bool finish_list();
  bool finish_cancel();
  bool drop_waits(Budget& budget);
  void append(const c10d::Request& request);
  void wait(const std::vector<Bytes>& keys, Table::Need need, int64_t target);
  bool may_wait();
  void park_or_stop(const Table::Waiter* waiter);
  void stop_waiting();
  void take_turn(Bytes key);
  void pass_turns(const c10d::Request* next);
  // Nobody is there who would take it.
  void pass_turn(const Table::Woken& woken);

  ServerContext& context_;
  c10d::Decoder decoder_;
  // The list of keys that the request at hand seems to have, and how much of it that was so far.
  SharedKeys guess_;
  size_t compared_ = 0;
  // Keys at which this client was woken and has not popped yet.
  std::vector<std::string> turns_;
  // What is being done, in slices.
  std::optional<std::pair<c10d::Code, SharedKeys>> known_;
  std::optional<PrefixListing> list_;
  bool is_cancelling_ = false;  // its waits; it is answered when they are gone
  Charge turns_charge_{&connection().memory().parked};
  bool validated_ = false;
};

}  // namespace rdzv
