// The c10d protocol's side of a connection (wire/c10d.h says what it is). It has no error answers:
// a request that cannot be served ends the connection with a log line that names peer, operation
// and reason.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "server/connection.h"
#include "server/long_request.h"
#include "server/session.h"
#include "store/store.h"
#include "wire/c10d.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

using c10d::Code;

// WAIT, CHECK and MULTI_GET of the same keys differ in their code alone.
bool is_of_keys(Code code) {
  return code == Code::kWait || code == Code::kCheck || code == Code::kMultiGet;
}

constexpr auto kForm = AnswerCache::Form::kC10d;
constexpr uint64_t kNoTag = 0;  // this protocol's answers do not say what they answer

class C10dSession final : public Session {
 public:
  C10dSession(Connection& connection, ServerContext& context)
      : Session(connection, connection.memory().parked), context_(context) {}

  size_t consume(Bytes input) override {
    context_.expire();
    size_t consumed = 0;
    while (!connection().closed() && finish_list() && !connection().congested() &&
           !context_.budget.is_spent() && consumed < input.size()) {
      size_t unsent = connection().unsent();
      size_t used = 0;
      if (is_of_keys(static_cast<Code>(input[consumed])))
        used = consume_known(input.substr(consumed));
      consumed += used;
      if (used > 0) {
        spend(used + connection().unsent() - unsent);
        continue;
      }
      if (guess_ != nullptr) break;
      c10d::Request& request = context_.c10d_request;
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

  bool is_in_request() const override { return list_.has_value(); }
  size_t missing() const override { return guess_ != nullptr ? 1 : decoder_.missing(); }
  size_t expected() const override {
    return guess_ != nullptr ? guess_->text().size() - compared_ : 0;
  }
  bool greeted() const override { return validated_; }
  size_t scanned_bytes() const override { return decoder_.scanned_bytes(); }

  void on_closed() override {
    context_.table.drop(*this);
    pass_turns(nullptr);
  }

  void on_woken(const Table::Woken& woken) override {
    if (connection().closed()) return;
    // At a value nobody has a turn.
    if (woken.keys->size() == 1 && context_.table.queue_size(woken.keys->front()) > 0)
      take_turn(woken.keys->front());
    stop_waiting();
  }

 private:
  std::string& out() { return connection().out(); }
  // For a request, of so many bytes with its answer.
  void spend(size_t bytes) {
    context_.budget.spend(Budget::kRequest + bytes / Budget::kBytesAUnit);
  }

  size_t consume_known(Bytes input);
  void handle_known(Code code, const SharedKeys& keys);
  void handle(const c10d::Request& request);
  void handle_write(const c10d::Request& request);
  void handle_read(const c10d::Request& request);
  SharedKeys shared_keys(const c10d::Request& request);
  void multi_get(const std::vector<Bytes>& keys);
  void refuse_large_answer();
  void put_value_of(Bytes key);
  void put_value(const ValueBytes& value);
  std::optional<int64_t> add(Bytes key, int64_t amount);
  bool finish_list();
  void append(const c10d::Request& request);
  void wait(const std::vector<Bytes>& keys, Table::Need need, int64_t target);
  void wait(const SharedKeys& keys);
  bool may_wait();
  void park_or_stop(const Table::Waiter* waiter);
  void stop_waiting();
  void cancel_waits();
  void take_turn(Bytes key);
  void pass_turns(const c10d::Request* next);

  ServerContext& context_;
  c10d::Decoder decoder_;
  // The list of keys that the request at hand seems to have, and how much of it that was so far.
  SharedKeys guess_;
  size_t compared_ = 0;
  // Keys at which this client was woken and has not popped yet.
  std::vector<std::string> turns_;
  std::optional<PrefixListing> list_;  // that is being made
  Charge turns_charge_{&connection().memory().parked};
  bool validated_ = false;
};

void C10dSession::handle(const c10d::Request& request) {
  if (!validated_) {
    if (request.code != Code::kValidate || request.number != c10d::kMagic) {
      connection().close("the first message is no valid VALIDATE");
      return;
    }
    validated_ = true;
    return;
  }
  if (!turns_.empty()) pass_turns(&request);
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

void C10dSession::handle_write(const c10d::Request& request) {
  Table& table = context_.table;
  const std::vector<Bytes>& strings = request.strings;
  size_t bytes = 0;
  for (Bytes string : strings) bytes += string.size();
  if (request.code != Code::kDeleteKey && context_.is_full(bytes)) {
    connection().close(std::string(c10d::name_of(request.code)) + ": " + context_.full_text());
    return;
  }
  switch (request.code) {
    case Code::kSet:
      table.set(strings[0], strings[1]);
      break;
    case Code::kAppend:
      append(request);
      break;
    case Code::kMultiSet:
      table.multi_set(strings);
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
      table.push(strings[0], strings[1]);
      break;
    case Code::kCompareSet: {
      Table::CompareSet result = table.compare_set(strings[0], strings[1], strings[2]);
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
      c10d::put_i64(out(), table.erase(strings[0]) ? 1 : 0);
      connection().reply_ready();
  }
  context_.wake();
}

void C10dSession::handle_read(const c10d::Request& request) {
  Table& table = context_.table;
  if (is_of_keys(request.code) && request.strings.size() >= AnswerCache::kKeysMin) {
    handle_known(request.code, shared_keys(request));
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
      // One key: it may be about to pop what it finds there.
      wait(request.strings,
           request.strings.size() == 1 ? Table::Need::kTurn : Table::Need::kPresent, 0);
      return;
    case Code::kQueuePop: {
      c10d::put_i64(out(), static_cast<int64_t>(table.queue_size(request.strings[0])));
      std::optional<std::string> item = table.pop(request.strings[0]);
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
      cancel_waits();
      break;
    case Code::kPing:
      c10d::put_u32(out(), static_cast<uint32_t>(request.number));
      break;
    default:
      return;  // a repeated VALIDATE has no answer
  }
  connection().reply_ready();
}

// The keys of a request for so many that others may ask for the same.
SharedKeys C10dSession::shared_keys(const c10d::Request& request) {
  Bytes list = request.raw.substr(1);
  SharedKeys known = context_.answers.find(kForm, list);
  return known != nullptr ? known : context_.answers.remember(kForm, list, request.strings);
}

// Handles a request for keys that were asked for before, and returns how many bytes it has. While
// guess_ is set, it seems to be such a request, and more of it has to come.
size_t C10dSession::consume_known(Bytes input) {
  constexpr size_t kBeginning = 1 + 2 * sizeof(uint64_t);  // code, count, size of the first key
  if (guess_ == nullptr) {
    if (input.size() < kBeginning) return 0;
    if (!validated_ || !decoder_.is_between()) return 0;
    guess_ = context_.answers.find_like(kForm, input.substr(1));
    if (guess_ == nullptr) return 0;
    compared_ = 0;
  }
  Bytes list = guess_->text();
  size_t there = std::min(input.size() - 1, list.size());
  bool is_same =
      input.substr(1 + compared_, there - compared_) == list.substr(compared_, there - compared_);
  compared_ = there;
  if (is_same && there < list.size()) return 0;
  SharedKeys keys = std::exchange(guess_, nullptr);
  if (!is_same) return 0;
  if (!turns_.empty()) pass_turns(nullptr);
  handle_known(static_cast<Code>(input[0]), keys);
  return 1 + list.size();
}

void C10dSession::handle_known(Code code, const SharedKeys& keys) {
  if (code == Code::kWait) {
    wait(keys);
  } else if (code == Code::kCheck) {
    bool all = context_.answers.missing(kForm, keys, Table::Need::kPresent).at.empty();
    c10d::put_u8(out(), all ? 0 : 1);
    connection().reply_ready();
  } else if (const AnswerCache::Body& body = context_.answers.body(kForm, keys);
             body.is_too_large) {
    refuse_large_answer();
  } else {
    send_body(body);
  }
}

void C10dSession::multi_get(const std::vector<Bytes>& keys) {
  size_t total = 0;
  size_t copied = 0;
  for (Bytes key : keys) {
    const Table::Value* value = context_.table.find(key);
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

void C10dSession::refuse_large_answer() {
  connection().close("the answer to MULTI_GET would be larger than " +
                     std::to_string(limits::kRequestBytesMax) + " bytes");
}

// Nothing there reads as an empty value.
void C10dSession::put_value_of(Bytes key) {
  const Table::Value* value = context_.table.find(key);
  if (value == nullptr) {
    c10d::put_bytes(out(), Bytes());
  } else {
    put_value(value->bytes);
  }
}

void C10dSession::put_value(const ValueBytes& value) {
  SharedBytes shared = value.shared();
  if (shared == nullptr) {
    c10d::put_bytes(out(), value);
  } else {
    c10d::put_i64(out(), static_cast<int64_t>(shared->size()));
    connection().send_shared(std::move(shared));
  }
}

// The sum; none when the connection was closed because there is none.
std::optional<int64_t> C10dSession::add(Bytes key, int64_t amount) {
  Table::Add result = context_.table.add(key, amount);
  if (result.status == Table::AddStatus::kOk) return result.value;
  bool overflow = result.status == Table::AddStatus::kOverflow;
  connection().close(not_a_number_text(key, context_.table.find(key)->bytes, amount, overflow));
  return std::nullopt;
}

// Answers LIST_KEYS, in slices. True: nothing is left of it.
bool C10dSession::finish_list() {
  if (!list_) return true;
  if (!list_->go_on(context_.table, context_.budget, c10d::put_bytes)) return false;
  if (list_->is_too_large()) {
    connection().close("the answer to LIST_KEYS would be larger than " +
                       std::to_string(limits::kRequestBytesMax) + " bytes");
    return false;
  }
  if (!connection().has_room(list_->bytes().size())) return false;
  c10d::put_i64(out(), static_cast<int64_t>(list_->count()));
  connection().append(std::move(list_->bytes()));
  connection().reply_ready();
  list_.reset();
  return true;
}

void C10dSession::append(const c10d::Request& request) {
  Bytes key = request.strings[0];
  const Table::Value* before = context_.table.find(key);
  size_t size = (before == nullptr ? 0 : before->bytes.size()) + request.strings[1].size();
  if (size > limits::kValueBytesMax) {
    connection().close("APPEND would make the value of key " + quoted(key) + " " +
                       std::to_string(size) + " bytes; the limit is " +
                       std::to_string(limits::kValueBytesMax));
    return;
  }
  context_.table.append(key, request.strings[1]);
}

void C10dSession::wait(const std::vector<Bytes>& keys, Table::Need need, int64_t target) {
  if (may_wait()) park_or_stop(context_.table.wait(*this, kNoTag, keys, need, target));
}

void C10dSession::wait(const SharedKeys& keys) {
  if (!may_wait()) return;
  constexpr Table::Need kNeed = Table::Need::kPresent;
  // Whoever finds others waiting need not look.
  bool is_missing = context_.table.is_awaited(keys, kNeed) ||
                    !context_.answers.missing(kForm, keys, kNeed).at.empty();
  park_or_stop(is_missing ? context_.table.wait(*this, kNoTag, keys, kNeed) : nullptr);
}

bool C10dSession::may_wait() {
  if (waiters() < context_.limits.waits_per_connection) return true;
  connection().close("more than " + std::to_string(context_.limits.waits_per_connection) +
                     " WAITs at once; the server's limit is waits_per_connection");
  return false;
}

void C10dSession::park_or_stop(const Table::Waiter* waiter) {
  if (waiter == nullptr) return stop_waiting();
  if (std::optional<std::string> refusal = refuse_parked(context_, connection()))
    connection().close("WAIT: " + *refusal);
}

void C10dSession::stop_waiting() {
  c10d::put_u8(out(), c10d::kStopWaiting);
  connection().reply_ready();
}

// Answered always: the client reads until it finds this answer, so it knows whether the wait was
// satisfied meanwhile.
void C10dSession::cancel_waits() {
  context_.table.drop(*this);
  c10d::put_u8(out(), c10d::kWaitCanceled);
}

void C10dSession::take_turn(Bytes key) {
  turns_.emplace_back(key);
  turns_charge_.resize(turns_charge_.bytes() + 2 * sizeof(std::string) + heap_bytes(key.size()));
}

// Whoever is woken at a queue and wants its item pops it with its next request. If that is another
// one, or if the client is gone, then somebody else who waits has to be woken for the item.
void C10dSession::pass_turns(const c10d::Request* next) {
  std::vector<std::string> turns = std::exchange(turns_, {});
  turns_charge_.resize(0);
  for (const std::string& key : turns) {
    bool pops = next != nullptr && next->code == Code::kQueuePop && next->strings[0] == key;
    if (!pops) context_.table.pass_turn(key);
  }
  context_.wake();
}

}  // namespace

std::unique_ptr<Session> make_c10d_session(Connection& connection, ServerContext& context) {
  return std::make_unique<C10dSession>(connection, context);
}

}  // namespace rdzv
