// The native protocol's side of a connection (docs/protocol.md). Errors are answers; only a peer
// that breaks the framing is disconnected. Blocked requests are waits in the table with a timer in
// the loop, found by request id. native_session.cc has framing and blocking; what each operation
// does is in native_operations.cc, native_versions.cc and native_exchange.cc.
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
#include "server/connection.h"
#include "server/long_request.h"
#include "server/session.h"
#include "store/meeting.h"
#include "wire/native.h"

namespace rdzv {

// A key as its user knows it, for messages.
inline Bytes as_user_knows(Bytes wire_key) {
  return wire_key.starts_with('/') ? wire_key.substr(1) : wire_key;
}

// Request ids stay below 2^48, so that channel and id make one tag.
inline constexpr int kIdBits = 48;

inline uint64_t tag_of(const native::Header& header) {
  return uint64_t{header.channel} << kIdBits | header.id;
}

// What a WAIT or a MULTI_GET waits for.
inline Table::Need need_of(const native::Header& header) {
  bool is_wait = header.operation == static_cast<uint8_t>(native::Operation::kWait);
  return is_wait ? Table::Need::kPresent : Table::Need::kValue;
}

// Whether a body was exactly as long as its fields.
inline bool whole(const ByteReader& body) {
  return body.ok() && body.left() == 0;
}

// What comes with each value of an answer: version and size.
inline constexpr size_t kValueOverheadBytes = sizeof(uint64_t) + sizeof(uint32_t);

class NativeRuns;

class NativeSession final : public Session {
 public:
  NativeSession(Connection& connection, ServerContext& context);
  ~NativeSession() override;

  size_t consume(Bytes input) override;
  bool is_in_request() const override { return long_request_ != nullptr; }
  size_t missing() const override { return missing_; }
  bool greeted() const override { return hello_seen_; }
  void on_closed() override;
  void on_woken(const Table::Woken& woken) override;

 private:
  friend class NativeRuns;  // the part of the session that speaks of runs

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
    std::optional<EventLoop::TimerId> timer;
    Charge charge;
  };

  class ListKeys;
  class DeletePrefix;

  std::string& out() { return connection().out(); }

  size_t consume_preamble(Bytes input);
  bool finish_long_request();
  void handle(const native::Frame& frame);
  void hello(const native::Frame& frame);
  bool handle_write(const native::Frame& frame);
  bool handle_read(const native::Frame& frame);
  bool handle_run(const native::Frame& frame);

  // A request's keys, or its keys and values, into the context's strings.
  bool take_strings(ByteReader& body, size_t strings_each);

  bool set(const native::Header& header, ByteReader& body);
  bool append(const native::Header& header, ByteReader& body);
  bool compare_set(const native::Header& header, ByteReader& body);
  bool add(const native::Header& header, ByteReader& body);
  std::optional<Table::Add> add_or_refuse(const native::Header& header, Bytes key, int64_t amount);
  bool delete_key(const native::Header& header, ByteReader& body);
  bool multi_set(const native::Header& header, ByteReader& body);
  bool check(const native::Header& header, ByteReader& body);
  bool list_keys(const native::Header& header, ByteReader& body);
  bool get(const native::Header& header, ByteReader& body);
  bool wait(const native::Header& header, ByteReader& body);
  bool cancel(ByteReader& body);
  bool queue_push(const native::Header& header, ByteReader& body);
  bool queue_pop(const native::Header& header, ByteReader& body);
  bool queue_len(const native::Header& header, ByteReader& body);
  bool barrier(const native::Header& header, ByteReader& body);
  bool come(const native::Header& header, const TableStep& step);
  bool try_get(const native::Header& header, ByteReader& body);
  bool watch(const native::Header& header, ByteReader& body);
  bool set_if_version(const native::Header& header, ByteReader& body);
  bool set_for(const native::Header& header, ByteReader& body);
  bool delete_prefix(const native::Header& header, ByteReader& body);
  bool exchange(const native::Header& header, ByteReader& body);

  // Parks the request until the need is met or its time is over; null: it was answered.
  Blocked* park(const native::Header& header, const std::vector<Bytes>& keys, Table::Need need,
                int64_t target = 0);
  Blocked* park(const native::Header& header, Table::Waiter* waiter, int64_t target,
                Bytes exchange_key);
  void set_deadline(Blocked& blocked, uint32_t timeout_ms);
  void block(const native::Header& header, const std::vector<Bytes>& keys, uint32_t timeout_ms,
             Table::Need need, int64_t target = 0);
  // The same for a list of keys that others may ask for as well.
  void block(const native::Header& header, const SharedKeys& keys, uint32_t timeout_ms,
             Table::Need need);
  size_t waits() const;
  std::string waits_text() const;
  // False when it was refused.
  bool may_block(const native::Header& header);
  // The rest of a body, a list of keys: into `shared` if they are many, and otherwise into
  // context_.strings. False: it is no such list.
  bool take_keys(ByteReader& body, SharedKeys& shared);
  void on_deadline(uint64_t tag);
  // The text, and the numbers that the answer names: ranks, or positions in the request's keys.
  std::string deadline_text(const Blocked& blocked, std::vector<uint32_t>& missing) const;
  std::string list_deadline_text(const Blocked& blocked, std::vector<uint32_t>& positions) const;
  static BarrierCall barrier_call(const Blocked& blocked);
  void leave_barrier(const Blocked& blocked);
  void take_back(const BarrierCall& call);
  void answer(const native::Header& header, const std::vector<Bytes>& keys, int64_t target = 0);
  void answer_present(const native::Header& header, const std::vector<Bytes>& keys);
  void answer_list(const native::Header& header, const SharedKeys& keys);
  void refuse_large_answer(const native::Header& header);
  // Version and bytes.
  void put_value(const Table::Value& value);
  void answer_item(const native::Header& header, Bytes item);
  // What is there now, if anything.
  void answer_value(const native::Header& header, Bytes key);
  Table::Waiter* wait_for_slot(uint64_t tag, Bytes key, int64_t world_size);
  void answer_exchange(const native::Header& header, Bytes key, int64_t world_size);

  // A reply is what is appended to out() between these two.
  size_t begin_reply(const native::Header& header, ErrorCode status = ErrorCode::kOk);
  void end_reply(size_t begin);
  // The same for a reply whose size is known, which may have shared bytes in it: what is appended
  // after this, and then connection().reply_ready().
  void begin_sized_reply(const native::Header& header, size_t body_bytes);
  void reply_body(const native::Header& header, const AnswerCache::Body& body);
  // For bodies of one u64.
  void reply_u64(const native::Header& header, uint64_t value);
  void reply_error(const native::Header& header, ErrorCode code, const std::string& message);
  void reply_timeout(const native::Header& header, const std::string& message,
                     const std::vector<uint32_t>& missing);

  ServerContext& context_;
  NumberMap<uint64_t, Blocked> blocked_;
  std::unique_ptr<LongRequest> long_request_;
  std::unique_ptr<NativeRuns> runs_;  // none before the first operation on a run
  size_t missing_ = 0;
  bool preamble_seen_ = false;
  bool hello_seen_ = false;
};

}  // namespace rdzv
