#include "server/c10d_protocol.h"

#include <utility>

#include "base/text.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

using c10d::Code;

constexpr uint64_t kNoTag = 0;  // this protocol's answers do not say what they answer

// No default: the compiler finds out who forgets a new one.
Right right_of(Code code) {
  switch (code) {
    case Code::kValidate:
    case Code::kGet:
    case Code::kCheck:
    case Code::kWait:
    case Code::kNumKeys:
    case Code::kMultiGet:
    case Code::kCancelWait:
    case Code::kPing:
    case Code::kQueueLen:
    case Code::kListKeys:
      return Right::kLook;
    case Code::kSet:
    case Code::kCompareSet:
    case Code::kAdd:
    case Code::kDeleteKey:
    case Code::kAppend:
    case Code::kMultiSet:
    case Code::kQueuePush:
    case Code::kQueuePop:
    case Code::kBarrier:
      return Right::kChange;
  }
  return Right::kChange;
}

}  // namespace

void C10dProtocol::handle(const c10d::Request& request) {
  if (!validated_) {
    if (request.code != Code::kValidate || request.number != c10d::kMagic) {
      connection().close("the first message is not a valid VALIDATE");
      return;
    }
    validated_ = true;
    return;
  }
  if (connection().role() != tls::Role::kMember && !is_allowed(request.code)) return;
  if (!turns_.empty()) pass_turns(&request);
  const CountedRequest counted(
      context_.commons.records.counters.c10d[static_cast<size_t>(request.code)],
      context_.commons.records.stopwatch);
  switch (request.code) {
    case Code::kSet:
    case Code::kAppend:
    case Code::kMultiSet:
    case Code::kAdd:
    case Code::kCompareSet:
    case Code::kDeleteKey:
    case Code::kQueuePush:
    case Code::kBarrier:
      handle_write(request);
      break;
    default:
      handle_read(request);
  }
}

// Of who is no ordinary member. False: it was refused, which this protocol can say in no other way.
bool C10dProtocol::is_allowed(Code code) {
  Audit& audit = context_.commons.records.audit;
  if (!may(connection().role(), right_of(code))) {
    const std::string why = refused_right_text(c10d::name_of(code));
    audit.refused(connection(), c10d::name_of(code), why);
    connection().close("");
    return false;
  }
  if (connection().role() == tls::Role::kAdmin && right_of(code) == Right::kChange)
    audit.done_by_admin(connection(), c10d::name_of(code));
  return true;
}

void C10dProtocol::handle_write(const c10d::Request& request) {
  const std::vector<Bytes>& strings = request.strings;
  size_t bytes = 0;
  for (Bytes string : strings) bytes += string.size();
  if (request.code != Code::kDeleteKey && context_.is_full(bytes)) {
    connection().close(std::string(c10d::name_of(request.code)) + ": " + context_.full_text(bytes));
    return;
  }
  const bool are_pairs = request.code == Code::kMultiSet;
  for (size_t i = 1; i < strings.size(); i += are_pairs ? 2 : 1) {
    if (strings[i].size() > context_.limits.value_bytes) {
      return connection().close(std::string(c10d::name_of(request.code)) + ": " +
                                too_large_text(strings[i].size(), context_.limits.value_bytes));
    }
  }
  switch (request.code) {
    case Code::kSet:
      context_.apply(change::Set{strings[0], strings[1]});
      break;
    case Code::kAppend:
      append(request);
      break;
    case Code::kMultiSet:
      if (std::optional<std::string> refusal = context_.refuse_multi_set(strings))
        return connection().close(*refusal);
      context_.apply(change::MultiSet{strings});
      context_.budget.spend(strings.size() / 2 * Budget::kKeySet);
      break;
    case Code::kAdd:
      if (std::optional<int64_t> sum = add(strings[0], request.number)) {
        c10d::put_i64(out(), *sum);
        connection().reply_ready();
      }
      break;
    case Code::kBarrier:
      if (add(strings[0], 1)) wait(strings, Table::Need::kCount, request.number);
      break;
    case Code::kQueuePush:
      context_.apply(change::Push{strings[0], strings[1]});
      break;
    case Code::kCompareSet: {
      Table::CompareSet result =
          context_.apply(change::CompareSet{strings[0], strings[1], strings[2]});
      // A missing key answers with what the caller expected: that is how this protocol says
      // "nothing there".
      if (result.current == nullptr) {
        c10d::put_bytes(out(), strings[1]);
      } else {
        put_value(result.current->bytes);
      }
      connection().reply_ready();
      break;
    }
    default:
      c10d::put_i64(out(), context_.apply(change::Erase{strings[0]}) ? 1 : 0);
      connection().reply_ready();
  }
  context_.wake();
}

void C10dProtocol::handle_read(const c10d::Request& request) {
  const Table& table = context_.state.table();
  if (is_of_keys(request.code) && request.strings.size() >= AnswerCache::kKeysMin) {
    known_.emplace(request.code, shared_keys(request));
    return;
  }
  switch (request.code) {
    case Code::kGet:
      put_value_of(request.strings[0]);
      break;
    case Code::kMultiGet:
      multi_get(request.strings);
      return;
    case Code::kCheck:
      c10d::put_u8(out(), table.has_all(request.strings) ? 0 : 1);
      break;
    case Code::kWait:
      // One key: it may be about to pop what it finds there, if it may.
      wait(request.strings,
           request.strings.size() == 1 && connection().role() != tls::Role::kReader
               ? Table::Need::kTurn
               : Table::Need::kPresent,
           0);
      return;
    case Code::kQueuePop: {
      c10d::put_i64(out(), static_cast<int64_t>(table.queue_size(request.strings[0])));
      std::optional<std::string> item = context_.apply(change::Pop{request.strings[0]});
      if (item) c10d::put_bytes(out(), *item);
      break;
    }
    case Code::kQueueLen:
      c10d::put_i64(out(), static_cast<int64_t>(table.queue_size(request.strings[0])));
      break;
    case Code::kListKeys:
      list_.emplace("", connection().memory().unsent);
      return;
    case Code::kNumKeys:
      c10d::put_i64(out(), static_cast<int64_t>(table.size()));
      break;
    case Code::kCancelWait:
      is_cancelling_ = true;
      return;
    case Code::kPing:
      c10d::put_u32(out(), static_cast<uint32_t>(request.number));
      break;
    default:
      return;  // a repeated VALIDATE has no answer
  }
  connection().reply_ready();
}

void C10dProtocol::multi_get(const std::vector<Bytes>& keys) {
  size_t total = 0;
  size_t copied = 0;
  for (Bytes key : keys) {
    const Table::Value* value = context_.state.table().find(key);
    total += value == nullptr ? 0 : value->bytes.size();
    if (total > limits::kRequestBytesMax) {
      refuse_large_answer();
      return;
    }
    if (value == nullptr || value->bytes.size() < ValueBytes::kSharedMin)
      copied += sizeof(uint64_t) + (value == nullptr ? 0 : value->bytes.size());
  }
  if (!connection().has_room(copied)) return;
  for (Bytes key : keys) put_value_of(key);
  connection().reply_ready();
}

void C10dProtocol::refuse_large_answer() {
  connection().close("the answer to MULTI_GET would be larger than " +
                     std::to_string(limits::kRequestBytesMax) + " bytes");
}

// Nothing there reads as an empty value.
void C10dProtocol::put_value_of(Bytes key) {
  const Table::Value* value = context_.state.table().find(key);
  if (value == nullptr) {
    c10d::put_bytes(out(), Bytes());
  } else {
    put_value(value->bytes);
  }
}

void C10dProtocol::put_value(const ValueBytes& value) {
  SharedBytes shared = value.shared();
  if (shared == nullptr) {
    c10d::put_bytes(out(), value);
  } else {
    c10d::put_i64(out(), static_cast<int64_t>(shared->size()));
    connection().send_shared(std::move(shared));
  }
}

// The sum; none when the connection was closed because there is none.
std::optional<int64_t> C10dProtocol::add(Bytes key, int64_t amount) {
  Table::Add result = context_.apply(change::Add{key, amount});
  if (result.status == Table::AddStatus::kOk) return result.value;
  bool overflow = result.status == Table::AddStatus::kOverflow;
  connection().close(
      not_a_number_text(key, context_.state.table().find(key)->bytes, amount, overflow));
  return std::nullopt;
}

// Answers LIST_KEYS, in slices. True: nothing is left of it.
bool C10dProtocol::finish_list() {
  if (!list_) return true;
  bool is_whole = list_->go_on(context_.state.view(), context_.budget, c10d::put_bytes);
  if (!has_room_for_lists(context_, connection()) || !is_whole) return false;
  if (list_->is_too_large()) {
    connection().close("the answer to LIST_KEYS would be larger than " +
                       std::to_string(limits::kRequestBytesMax) + " bytes");
    return false;
  }
  const AnswerBody keys = list_->take();
  if (!connection().has_room(keys.bytes())) return false;
  c10d::put_i64(out(), static_cast<int64_t>(list_->count()));
  connection().send_body(keys);
  list_.reset();
  return true;
}

void C10dProtocol::append(const c10d::Request& request) {
  Bytes key = request.strings[0];
  const Table::Value* before = context_.state.table().find(key);
  size_t size = (before == nullptr ? 0 : before->bytes.size()) + request.strings[1].size();
  if (size > context_.limits.value_bytes) {
    connection().close("APPEND would make the value of key " + quoted(key) + " " +
                       std::to_string(size) + " bytes; the limit is " +
                       std::to_string(context_.limits.value_bytes));
    return;
  }
  context_.apply(change::Append{key, request.strings[1]});
}

void C10dProtocol::wait(const std::vector<Bytes>& keys, Table::Need need, int64_t target) {
  if (may_wait()) park_or_stop(context_.state.view().wait(*this, kNoTag, keys, need, target));
}

bool C10dProtocol::may_wait() {
  if (waiters() < context_.limits.waits_per_connection) return true;
  connection().close("more than " + std::to_string(context_.limits.waits_per_connection) +
                     " WAITs at once; the server's limit is waits_per_connection");
  return false;
}

void C10dProtocol::park_or_stop(const Table::Waiter* waiter) {
  if (waiter == nullptr) return stop_waiting();
  context_.budget.spend(Budget::kWait);
  if (std::optional<std::string> refusal = refuse_parked(context_, connection()))
    connection().close("WAIT: " + *refusal);
}

void C10dProtocol::stop_waiting() {
  c10d::put_u8(out(), c10d::kStopWaiting);
  connection().reply_ready();
}

// Answered always: the client reads until it finds this answer, so it knows whether the wait was
// satisfied meanwhile. True: nothing is left of it.
bool C10dProtocol::finish_cancel() {
  if (!is_cancelling_) return true;
  if (!drop_waits(context_.budget)) return false;
  is_cancelling_ = false;
  c10d::put_u8(out(), c10d::kWaitCanceled);
  connection().reply_ready();
  return true;
}

// As far as the budget goes. True: all of them.
bool C10dProtocol::drop_waits(Budget& budget) {
  const size_t before = waiters();
  const bool none_left = context_.state.view().drop(*this, budget.good_for(Budget::kLeave));
  budget.spend((before - waiters()) * Budget::kLeave);
  return none_left;
}

void C10dProtocol::pass_turn(const Table::Woken& woken) {
  if (woken.keys->size() > 1) return;
  context_.state.view().pass_turn(woken.keys->front());
}

void C10dProtocol::take_turn(Bytes key) {
  turns_.emplace_back(key);
  turns_charge_.resize(turns_charge_.bytes() + 2 * sizeof(std::string) + heap_bytes(key.size()));
}

// Whoever is woken at a queue and wants its item pops it with its next request. If that is another
// one, or if the client is gone, then somebody else who waits has to be woken for the item.
void C10dProtocol::pass_turns(const c10d::Request* next) {
  std::vector<std::string> turns = std::exchange(turns_, {});
  turns_charge_.resize(0);
  for (const std::string& key : turns) {
    bool pops = next != nullptr && next->code == Code::kQueuePop && next->strings[0] == key;
    if (!pops) context_.state.view().pass_turn(key);
  }
  context_.wake();
}

std::unique_ptr<Protocol> make_c10d_protocol(Connection& connection, ServerContext& context) {
  return std::make_unique<C10dProtocol>(connection, context);
}

}  // namespace rdzv
