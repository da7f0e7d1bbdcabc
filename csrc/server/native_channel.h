// One channel of a connection that speaks the native protocol: the requests of one client, and all
// that is its own while a relay speaks for others over the same connection (native_protocol.h): its
// turn, its blocked requests, its nodes, how much it has not read. Errors are answers. Blocked
// requests are waits in the table with a timer in the loop, found by request id.
// native_channel.cc has turns and answers, native_table.cc which operation is whose; what each does
// is in native_operations.cc, native_versions.cc, ...
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "server/chores.h"
#include "server/connection.h"
#include "server/late_answers.h"
#include "server/long_request.h"
#include "server/protocol.h"
#include "server/rights.h"
#include "store/meeting.h"
#include "wire/messages.h"

namespace rdzv {

// A key as its user knows it, for messages.
inline Bytes as_user_knows(Bytes wire_key) {
  return wire_key.starts_with('/') ? wire_key.substr(1) : wire_key;
}

inline uint64_t tag_of(const native::Header& header) {
  return uint64_t{header.channel} << native::kIdBits | header.id;
}

// What a WAIT or a MULTI_GET waits for.
inline Table::Need need_of(const native::Header& header) {
  bool is_wait = header.operation == static_cast<uint8_t>(native::Operation::kWait);
  return is_wait ? Table::Need::kPresent : Table::Need::kValue;
}

// A ValueReply without its value.
inline const size_t kNoValueBytes = native::bytes_of(native::ValueReply());

class NativeProtocol;
class NativeRuns;

class NativeChannel final : public Waiting, private Chore {
 public:
  // `serial` is another one for each channel of a connection.
  NativeChannel(NativeProtocol& protocol, Connection& connection, ServerContext& context,
                uint16_t number, uint64_t serial);
  ~NativeChannel() override;

  // In a body of so many bytes that begins so, of its last field, a value that is cut; 0: that is
  // something else.
  static size_t value_begin(uint8_t operation, Bytes begin, size_t body_bytes);
  // Handles a request, and spends for it.
  void serve(const native::Frame& frame);
  bool is_in_request() const { return long_request_ != nullptr; }
  // True: it is in none any more.
  bool finish_long_request();
  // The connection or the channel is gone: lets go of what could call back, as far as the budget
  // goes. True: of everything.
  bool leave(Budget& budget);
  void forget(const native::Header& request);
  template <typename Reply>
  void reply(const native::Header& header, const Reply& reply, ErrorCode status = ErrorCode::kOk) {
    native::put_frame(out(), native::reply_to(header, status), reply);
    reply_ready();
  }
  void reply_error(const native::Header& header, ErrorCode code, const std::string& message);
  void on_woken(const Table::Woken& woken) override;

  // Of a shared connection. Whether it could serve a request now.
  bool is_ready() const { return !has_work() && !is_congested(); }
  // A request that has to wait for those before it, or for the channel's turn. False: it has too
  // many already.
  bool put_aside(Bytes frame, Bytes tail = {});
  // What it had beyond the connection's turn is its own.
  void take_debt();
  // Goes on when its turn comes, if there is something to do that it can do.
  void go_on_later();
  uint16_t number() const { return number_; }
  uint64_t serial() const { return serial_; }
  // Of its answers so many bytes were made, or sent.
  void add_unsent(size_t bytes) { unsent_ += bytes; }
  void remove_unsent(size_t bytes) { unsent_ -= bytes; }
  std::string take_aside() { return std::exchange(aside_, {}); }

 private:
  friend class NativeRuns;  // its part that speaks of runs

  struct Blocked {
    native::Header header;
    Table::Waiter* waiter = nullptr;
    int64_t target = 0;
    std::string key;  // kExchange, kBarrier: of the count
    Duration timeout{};
    // kBarrier, with a rank: who has come, and with which version of its slot. A slot that has
    // another one is that of the same rank on a newer connection.
    int64_t rank = BarrierCall::kNoRank;
    int64_t round = 1;
    uint64_t token = 0;
    uint64_t slot_version = 0;
    bool is_overdue = false;  // and not told yet
    std::optional<Timers::Id> timer;
    Charge charge;
  };

  class ListKeys;
  class DeletePrefix;
  class Exchanging;
  class OfKeys;
  class Overdue;
  class TellChanges;
  class WokenAtList;
  class Closing;

  Connection& connection() const { return connection_; }
  std::string& out() { return connection().out(); }
  void reply_ready();

  bool work(Budget& budget) override;
  bool go_on(Budget& budget);
  bool has_work() const { return !aside_.empty() || long_request_ != nullptr || debt_ > 0; }
  bool is_congested() const;
  bool serve_aside(Budget& budget);
  void handle(const native::Frame& frame);
  NativeRuns& runs();

  // What each operation does. One that returns its answer is answered at once; the others are given
  // the header, and answer themselves. `shared`: the keys, if they are a list that many may ask for;
  // otherwise they are in context_.strings.
  enum class Kind : uint8_t {
    kRead,
    kWrite,  // whom it satisfied is woken
    kStore,  // a write that takes room
    kRun,
  };
  struct Served {
    native::Operation operation;
    Kind kind;
    Right right;
    bool (*run)(NativeChannel& channel, const native::Frame& frame);  // false: malformed
    size_t (*value_begin)(Bytes begin, size_t body_bytes);
  };
  struct Serving;
  static const Served* served(uint8_t operation);
  bool is_allowed(const native::Header& header, const Served& served);
  native::Nothing ping(const native::PingRequest& request);
  native::VersionReply set(const native::SetRequest& request);
  void append(const native::Header& header, const native::AppendRequest& request);
  native::CompareSetReply compare_set(const native::CompareSetRequest& request);
  void add(const native::Header& header, const native::AddRequest& request);
  native::DeleteKeyReply delete_key(const native::DeleteKeyRequest& request);
  void multi_set(const native::Header& header, const native::MultiSetRequest& request);
  native::CountReply num_keys(const native::NumKeysRequest& request);
  void check(const native::Header& header, const native::CheckRequest& request,
             const SharedKeys& shared);
  void list_keys(const native::Header& header, const native::ListKeysRequest& request);
  void get(const native::Header& header, const native::GetRequest& request);
  void wait(const native::Header& header, const native::WaitRequest& request,
            const SharedKeys& shared);
  void multi_get(const native::Header& header, const native::MultiGetRequest& request,
                 const SharedKeys& shared);
  void cancel(const native::Header& header, const native::CancelRequest& request);
  native::Nothing queue_push(const native::QueuePushRequest& request);
  void queue_pop(const native::Header& header, const native::QueuePopRequest& request);
  native::CountReply queue_len(const native::QueueLenRequest& request);
  void barrier(const native::Header& header, const native::BarrierRequest& request);
  void try_get(const native::Header& header, const native::TryGetRequest& request);
  void watch(const native::Header& header, const native::WatchRequest& request);
  native::SetIfVersionReply set_if_version(const native::SetIfVersionRequest& request);
  void set_for(const native::Header& header, const native::SetForRequest& request);
  void delete_prefix(const native::Header& header, const native::DeletePrefixRequest& request);
  void exchange(const native::Header& header, const native::ExchangeRequest& request);
  void watch_prefix(const native::Header& header, const native::WatchPrefixRequest& request);
  void spaces(const native::Header& header, const native::SpacesRequest& request);
  void close_channel(const native::Header& header, const native::CloseChannelRequest& request);

  bool come(const native::Header& header, const TableStep& step);

  // Parks the request until the need is met or its time is over; null: it was answered.
  Blocked* park(const native::Header& header, const std::vector<Bytes>& keys, Table::Need need,
                int64_t target = 0);
  Blocked* park(const native::Header& header, Table::Waiter* waiter, int64_t target,
                Bytes exchange_key);
  void set_deadline(Blocked& blocked, uint32_t timeout_ms);
  void block(const native::Header& header, const std::vector<Bytes>& keys, uint32_t timeout_ms,
             Table::Need need, int64_t target = 0);
  // The same, and CHECK, for a list of keys that others may ask for as well.
  void serve_list(const native::Header& header, const SharedKeys& keys, uint32_t timeout_ms);
  bool check_list(const native::Header& header, const SharedKeys& keys);
  bool answer_or_block(const native::Header& header, const SharedKeys& keys, uint32_t timeout_ms);
  void block(const native::Header& header, uint32_t timeout_ms, const SharedKeys& shared);
  size_t waits() const;
  std::string waits_text() const;
  // False when it was refused.
  bool may_block(const native::Header& header);
  void on_deadline(uint64_t tag);
  bool tell_overdue(uint64_t tag);
  size_t late() const { return late_ == nullptr ? 0 : late_->size(); }
  bool has_all_by_now(Blocked& blocked);
  // To be answered when there is a budget for it.
  void put_off(std::unique_ptr<LongRequest> request);
  // The text, and the numbers that the answer names: ranks, or positions in the request's keys.
  std::optional<std::string> deadline_text(const Blocked& blocked,
                                           std::vector<uint32_t>& missing) const;
  std::optional<std::string> list_deadline_text(const Blocked& blocked,
                                                std::vector<uint32_t>& positions) const;
  static BarrierCall barrier_call(const Blocked& blocked);
  void leave_barrier(const Blocked& blocked);
  void take_back(const BarrierCall& call);
  void answer(const native::Header& header, const std::vector<Bytes>& keys);
  // To one whose need was met, with what was at its key then.
  void answer_moment(const native::Header& header, const Table::Moment& moment);
  void answer_present(const native::Header& header, const std::vector<Bytes>& keys);
  // False: the budget is spent.
  bool answer_list(const native::Header& header, const SharedKeys& keys);
  bool answer_list_or_wait(const Blocked& blocked, const SharedKeys& keys);
  void refuse_large_answer(const native::Header& header);
  void tell_changes(const Blocked& blocked, Bytes prefix);
  // A ValueReply.
  void put_value(const Table::Value& value);
  // What is there now, if anything.
  void answer_value(const native::Header& header, Bytes key);
  void exchange_on(const Blocked& blocked);

  // The same for a reply whose size is known, which may have shared bytes in it: what is appended
  // after this, and then connection().reply_ready().
  void begin_sized_reply(const native::Header& header, size_t body_bytes);
  void reply_body(const native::Header& header, const AnswerBody& body);
  void send_body(const AnswerBody& body);
  void reply_timeout(const native::Header& header, const std::string& message,
                     std::vector<uint32_t> missing);

  NativeProtocol& protocol_;
  Connection& connection_;
  ServerContext& context_;
  const uint16_t number_;
  const uint64_t serial_;
  NumberMap<uint64_t, Blocked> blocked_;
  std::unique_ptr<LongRequest> long_request_;
  std::unique_ptr<LateAnswers> late_;  // none before the first
  std::unique_ptr<NativeRuns> runs_;   // none before the first operation on a run
  // Of a shared connection: requests that wait for their turn, what it had beyond its turns, and
  // what of its answers is not sent.
  std::string aside_;
  Charge aside_charge_;
  size_t debt_ = 0;
  size_t unsent_ = 0;
  bool has_left_ = false;
};

}  // namespace rdzv
