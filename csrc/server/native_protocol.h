// The native protocol's side of a connection (docs/protocol.md). Errors are answers; only a peer
// that breaks the framing is disconnected. Blocked requests are waits in the table with a timer in
// the loop, found by request id. native_protocol.cc has framing and answers, native_table.cc which
// operation is whose; what each does is in native_operations.cc, native_versions.cc, ...
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "server/connection.h"
#include "server/long_request.h"
#include "server/protocol.h"
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

class NativeRuns;

class NativeProtocol final : public Protocol {
 public:
  NativeProtocol(Connection& connection, ServerContext& context);
  ~NativeProtocol() override;

  size_t consume(Bytes input, Bytes value) override;
  bool is_in_request() const override { return long_request_ != nullptr; }
  size_t missing() const override { return missing_; }
  size_t value_begin(Bytes input) const override;
  bool greeted() const override { return hello_seen_; }
  bool leave(Budget& budget) override;
  void on_woken(const Table::Woken& woken) override;

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
  class WokenAtList;
  // Answers that were due when somebody woke them, and were not made yet.
  class Late final : public Chore {
   public:
    explicit Late(NativeProtocol& protocol) : protocol_(protocol) {}
    bool work(Budget& budget) override;

   private:
    NativeProtocol& protocol_;
  };

  std::string& out() { return connection().out(); }

  size_t consume_preamble(Bytes input);
  bool finish_long_request();
  void handle(const native::Frame& frame);
  void hello(const native::Frame& frame);
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
    bool (*run)(NativeProtocol& protocol, const native::Frame& frame);  // false: malformed
    // In a body of so many bytes that begins so, of its last field, a value that is cut; 0: that is
    // something else.
    size_t (*value_begin)(Bytes begin, size_t body_bytes);
  };
  struct Serving;
  static const Served* served(uint8_t operation);
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
  // A ValueReply.
  void put_value(const Table::Value& value);
  // What is there now, if anything.
  void answer_value(const native::Header& header, Bytes key);
  void exchange_on(const Blocked& blocked);

  template <typename Reply>
  void reply(const native::Header& header, const Reply& reply, ErrorCode status = ErrorCode::kOk) {
    native::put_frame(out(), native::reply_to(header, status), reply);
    connection().reply_ready();
  }
  // The same for a reply whose size is known, which may have shared bytes in it: what is appended
  // after this, and then connection().reply_ready().
  void begin_sized_reply(const native::Header& header, size_t body_bytes);
  void reply_body(const native::Header& header, const AnswerBody& body);
  void reply_error(const native::Header& header, ErrorCode code, const std::string& message);
  void reply_timeout(const native::Header& header, const std::string& message,
                     std::vector<uint32_t> missing);

  ServerContext& context_;
  NumberMap<uint64_t, Blocked> blocked_;
  std::unique_ptr<LongRequest> long_request_;
  std::deque<std::unique_ptr<LongRequest>> late_;
  Late late_chore_{*this};
  std::unique_ptr<NativeRuns> runs_;  // none before the first operation on a run
  size_t missing_ = 0;
  bool preamble_seen_ = false;
  bool hello_seen_ = false;
};

}  // namespace rdzv
