#include "server/native_session.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "server/native_run.h"
#include "store/exchange.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;
using native::Operation;

namespace {

// Of a blocked request, beside what the table has of it: with its timer.
constexpr size_t kBlockedBytes = 384;

bool is_exchange(const Header& header) {
  return header.operation == static_cast<uint8_t>(Operation::kExchange);
}

bool is_of_keys(const Header& header) {
  return header.operation == static_cast<uint8_t>(Operation::kWait) ||
         header.operation == static_cast<uint8_t>(Operation::kMultiGet);
}

}  // namespace

NativeSession::NativeSession(Connection& connection, ServerContext& context)
    : Session(connection, connection.memory().parked),
      context_(context),
      blocked_(0, NumberHash{context.seed}) {}

NativeSession::~NativeSession() = default;

size_t NativeSession::consume(Bytes input) {
  context_.expire();
  size_t consumed = preamble_seen_ ? 0 : consume_preamble(input);
  if (!preamble_seen_) return 0;
  while (!connection().closed() && finish_long_request() && !connection().congested() &&
         !context_.budget.is_spent()) {
    native::Frame frame;
    native::Progress progress = native::next_frame(input.substr(consumed), frame);
    if (progress == native::Progress::kNeedMore) {
      size_t there = input.size() - consumed;
      missing_ =
          there < native::kHeaderBytes ? 0 : native::kHeaderBytes + frame.header.body_bytes - there;
      break;
    }
    if (progress == native::Progress::kInvalid) {
      connection().close("a frame of " + std::to_string(frame.header.body_bytes) +
                         " bytes; the limit is " + std::to_string(limits::kRequestBytesMax));
      break;
    }
    consumed += native::kHeaderBytes + frame.body.size();
    size_t unsent = connection().unsent();
    handle(frame);
    size_t bytes = frame.body.size() + connection().unsent() - unsent;
    context_.budget.spend(Budget::kRequest + bytes / Budget::kBytesAUnit);
  }
  return consumed;
}

// True: there is none any more.
bool NativeSession::finish_long_request() {
  if (long_request_ == nullptr) return true;
  if (!long_request_->go_on(context_.budget)) return false;
  long_request_.reset();
  return true;
}

size_t NativeSession::consume_preamble(Bytes input) {
  size_t common = std::min(input.size(), native::kMagic.size());
  if (input.substr(0, common) != native::kMagic.substr(0, common)) {
    connection().close("it speaks neither of our protocols; its first bytes are " +
                       quoted(input.substr(0, 16)));
    return 0;
  }
  if (input.size() < native::kPreambleBytes) return 0;
  native::Preamble preamble = *native::take_preamble(input);
  preamble_seen_ = true;
  if (preamble.version_min > native::kVersion || preamble.version_max < native::kVersion) {
    Header header;
    header.operation = static_cast<uint8_t>(Operation::kHello);
    reply_error(header, ErrorCode::kUnsupported,
                "this server speaks version " + std::to_string(native::kVersion) +
                    " of the protocol, the client " + std::to_string(preamble.version_min) +
                    " to " + std::to_string(preamble.version_max));
    connection().close("no common version of the protocol");
  }
  return native::kPreambleBytes;
}

void NativeSession::on_closed() {
  context_.table.drop(*this);
  for (auto& [tag, blocked] : blocked_) {
    if (blocked.timer) context_.loop.cancel(*blocked.timer);
  }
  auto gone = std::exchange(blocked_, decltype(blocked_)(0, NumberHash{context_.seed}));
  for (const auto& [tag, blocked] : gone) leave_barrier(blocked);
  if (runs_) runs_->on_closed();
}

void NativeSession::handle(const native::Frame& frame) {
  const Header& header = frame.header;
  if (header.id >> kIdBits != 0) {
    reply_error(header, ErrorCode::kProtocol, "request ids stay below 2^48");
    return;
  }
  if (!hello_seen_) {
    hello(frame);
    return;
  }
  if (header.operation == 0 || header.operation > native::kOperationMax ||
      header.operation == static_cast<uint8_t>(Operation::kHello)) {
    reply_error(header, ErrorCode::kUnsupported,
                "this server (version " + std::string(kVersion) + ") does not know operation " +
                    std::to_string(header.operation));
    return;
  }
  if (handle_write(frame) || handle_read(frame) || handle_run(frame)) return;
  reply_error(header, ErrorCode::kProtocol,
              std::string("malformed ") +
                  native::name_of(static_cast<Operation>(header.operation)) +
                  " request: a field is cut, left over or above its limit (key " +
                  std::to_string(limits::kWireKeyBytesMax) + " B, value " +
                  std::to_string(limits::kValueBytesMax) + " B, " +
                  std::to_string(limits::kKeysPerRequestMax) + " keys)");
}

void NativeSession::hello(const native::Frame& frame) {
  native::HelloRequest request;
  if (frame.header.operation != static_cast<uint8_t>(Operation::kHello) ||
      !native::take_hello(frame.body, request)) {
    connection().close("its first frame is no HELLO");
    return;
  }
  hello_seen_ = true;
  std::string observed = connection().peer().host();
  std::string server = std::string("rendezvous ") + kVersion;
  native::HelloReply reply;
  reply.instance = context_.instance;
  reply.observed_address = observed;
  reply.server = server;
  reply.key_bytes_max = limits::kWireKeyBytesMax;
  reply.value_bytes_max = limits::kValueBytesMax;
  reply.keys_per_request_max = limits::kKeysPerRequestMax;
  size_t begin = begin_reply(frame.header);
  native::put_hello_reply(out(), reply);
  end_reply(begin);
}

NativeSession::Blocked* NativeSession::park(const Header& header, const std::vector<Bytes>& keys,
                                            Table::Need need, int64_t target) {
  if (!may_block(header)) return nullptr;
  uint64_t tag = tag_of(header);
  Table::Waiter* waiter = context_.table.wait(*this, tag, keys, need, target);
  if (waiter == nullptr && is_exchange(header)) waiter = wait_for_slot(tag, keys.front(), target);
  if (waiter == nullptr) {
    answer(header, keys, target);
    return nullptr;
  }
  return park(header, waiter, target, is_exchange(header) ? keys.front() : Bytes());
}

void NativeSession::block(const Header& header, const SharedKeys& keys, uint32_t timeout_ms,
                          Table::Need need) {
  if (!may_block(header)) return;
  // Whoever finds others waiting need not look.
  if (!context_.table.is_awaited(keys, need) &&
      context_.answers.missing(AnswerCache::Form::kNative, keys, need).at.empty()) {
    answer_list(header, keys);
    return;
  }
  Table::Waiter* waiter = context_.table.wait(*this, tag_of(header), keys, need);
  if (Blocked* blocked = park(header, waiter, 0, {})) set_deadline(*blocked, timeout_ms);
}

bool NativeSession::may_block(const Header& header) {
  if (blocked_.count(tag_of(header)) > 0) {
    reply_error(header, ErrorCode::kProtocol, "a request with this id is still blocked");
    return false;
  }
  if (waits() >= context_.limits.waits_per_connection) {
    reply_error(header, ErrorCode::kLimit, waits_text());
    return false;
  }
  return true;
}

NativeSession::Blocked* NativeSession::park(const Header& header, Table::Waiter* waiter,
                                            int64_t target, Bytes exchange_key) {
  if (std::optional<std::string> refusal = refuse_parked(context_, connection())) {
    context_.table.cancel(waiter);
    reply_error(header, ErrorCode::kLimit,
                native::name_of(static_cast<Operation>(header.operation)) + (": " + *refusal));
    return nullptr;
  }
  uint64_t tag = tag_of(header);
  Blocked& blocked = blocked_[tag];
  blocked.key = exchange_key;
  blocked.charge = Charge(&connection().memory().parked, kBlockedBytes);
  blocked.header = header;
  blocked.waiter = waiter;
  blocked.target = target;
  return &blocked;
}

void NativeSession::set_deadline(Blocked& blocked, uint32_t timeout_ms) {
  blocked.timeout = std::chrono::milliseconds(timeout_ms);
  uint64_t tag = tag_of(blocked.header);
  if (timeout_ms == 0) {
    on_deadline(tag);
  } else if (timeout_ms != native::kNoTimeout) {
    blocked.timer =
        context_.loop.call_at(now() + blocked.timeout, [this, tag] { on_deadline(tag); });
  }
}

size_t NativeSession::waits() const {
  return blocked_.size() + (runs_ == nullptr ? 0 : runs_->waits());
}

std::string NativeSession::waits_text() const {
  return "more than " + std::to_string(context_.limits.waits_per_connection) +
         " blocked requests on one connection; the server's limit is waits_per_connection";
}

void NativeSession::block(const Header& header, const std::vector<Bytes>& keys, uint32_t timeout_ms,
                          Table::Need need, int64_t target) {
  if (Blocked* blocked = park(header, keys, need, target)) set_deadline(*blocked, timeout_ms);
}

void NativeSession::on_deadline(uint64_t tag) {
  auto found = blocked_.find(tag);
  std::vector<uint32_t> missing;
  std::string text = deadline_text(found->second, missing);
  context_.table.cancel(found->second.waiter);
  Blocked blocked = std::move(found->second);
  blocked_.erase(found);
  reply_timeout(blocked.header, text, missing);
  leave_barrier(blocked);
}

std::string NativeSession::deadline_text(const Blocked& blocked,
                                         std::vector<uint32_t>& missing) const {
  auto name = [&missing](const auto& numbers) {
    size_t count = std::min(numbers.size(), kMissingMax);
    missing.assign(numbers.begin(), numbers.begin() + static_cast<ptrdiff_t>(count));
  };
  auto operation = static_cast<Operation>(blocked.header.operation);
  if (operation == Operation::kExchange) {
    const std::vector<int64_t>& ranks =
        context_.meeting_view.missing(blocked.key, blocked.target, context_.table);
    name(ranks);
    int64_t count = context_.table.sum(blocked.key, 0).value;
    return exchange_timeout_text(as_user_knows(blocked.key), ranks, blocked.target, blocked.timeout,
                                 missing_count(ranks, blocked.target, count));
  }
  if (operation == Operation::kBarrier) {
    BarrierCall call = barrier_call(blocked);
    const std::vector<int64_t>& ranks = context_.meeting_view.missing(call, context_.table);
    name(ranks);
    int64_t count = context_.table.sum(blocked.key, 0).value;
    return barrier_timeout_text(call, count, ranks, blocked.timeout);
  }
  if (is_of_keys(blocked.header)) return list_deadline_text(blocked, missing);
  missing = context_.table.missing_positions(*blocked.waiter);
  std::vector<Bytes> keys = context_.table.missing_keys(*blocked.waiter);
  if (operation == Operation::kWatch) {
    return watch_timeout_text(as_user_knows(keys.front()), static_cast<uint64_t>(blocked.target),
                              blocked.timeout);
  }
  if (operation == Operation::kQueuePop)
    return queue_timeout_text(as_user_knows(keys.front()), blocked.timeout);
  return timeout_text(native::name_of(operation), {as_user_knows(keys.front())}, 1,
                      blocked.timeout);
}

// Many may be told at once that the same keys are missing.
std::string NativeSession::list_deadline_text(const Blocked& blocked,
                                              std::vector<uint32_t>& positions) const {
  auto operation = static_cast<Operation>(blocked.header.operation);
  const SharedKeys& keys = context_.table.keys_of(*blocked.waiter);
  std::vector<Bytes> names;
  size_t count = 0;
  if (keys->size() < AnswerCache::kKeysMin) {
    positions = context_.table.missing_positions(*blocked.waiter);
    names = context_.table.missing_keys(*blocked.waiter);
    count = names.size();
  } else {
    const AnswerCache::Missing& missing =
        context_.answers.missing(AnswerCache::Form::kNative, keys, need_of(blocked.header));
    size_t named = std::min(missing.at.size(), kMissingMax);
    positions.assign(missing.at.begin(), missing.at.begin() + static_cast<ptrdiff_t>(named));
    names = missing.names;
    count = missing.at.size();
  }
  for (Bytes& key : names) key = as_user_knows(key);
  return timeout_text(native::name_of(operation), names, keys->size(), blocked.timeout, count);
}

void NativeSession::on_woken(const Table::Woken& woken) {
  auto found = blocked_.find(woken.tag);
  if (connection().is_ending() && woken.item) context_.table.unpop(woken.keys->front(), *woken.item);
  if (found == blocked_.end() || connection().is_ending()) return;
  if (is_exchange(found->second.header)) {
    Blocked& waiting = found->second;
    waiting.waiter = wait_for_slot(woken.tag, waiting.key, waiting.target);
    if (waiting.waiter != nullptr) return;
  }
  Blocked blocked = std::move(found->second);
  blocked_.erase(found);
  if (blocked.timer) context_.loop.cancel(*blocked.timer);
  if (woken.item) {
    answer_item(blocked.header, *woken.item);
  } else if (is_exchange(blocked.header)) {
    answer(blocked.header, {blocked.key}, blocked.target);
  } else if (woken.keys->size() >= AnswerCache::kKeysMin) {
    answer_list(blocked.header, woken.keys);
  } else {
    answer(blocked.header, woken.keys->all());
  }
}

// To a request whose need is met.
void NativeSession::answer(const Header& header, const std::vector<Bytes>& keys, int64_t target) {
  switch (static_cast<Operation>(header.operation)) {
    case Operation::kExchange:
      return answer_exchange(header, keys.front(), target);
    case Operation::kWatch:
      return answer_value(header, keys.front());
    default:
      return answer_present(header, keys);
  }
}

void NativeSession::answer_item(const Header& header, Bytes item) {
  size_t begin = begin_reply(header);
  native::put_string(out(), item);
  end_reply(begin);
}

void NativeSession::answer_present(const Header& header, const std::vector<Bytes>& keys) {
  auto operation = static_cast<Operation>(header.operation);
  if (operation == Operation::kWait || operation == Operation::kBarrier) {
    end_reply(begin_reply(header));
    return;
  }
  bool is_list = operation == Operation::kMultiGet;
  size_t body_bytes = is_list ? sizeof(uint32_t) : 0;
  size_t shared_bytes = 0;
  for (Bytes key : keys) {
    const size_t value_bytes = context_.table.find(key)->bytes.size();
    body_bytes += kValueOverheadBytes + value_bytes;
    if (value_bytes >= ValueBytes::kSharedMin) shared_bytes += value_bytes;
  }
  if (body_bytes > limits::kRequestBytesMax) {
    refuse_large_answer(header);
    return;
  }
  if (!connection().has_room(body_bytes - shared_bytes)) return;
  begin_sized_reply(header, body_bytes);
  if (is_list) native::put_u32(out(), static_cast<uint32_t>(keys.size()));
  for (Bytes key : keys) put_value(*context_.table.find(key));
  connection().reply_ready();
}

void NativeSession::answer_list(const Header& header, const SharedKeys& keys) {
  if (header.operation == static_cast<uint8_t>(Operation::kWait)) {
    end_reply(begin_reply(header));
    return;
  }
  const AnswerCache::Body& body = context_.answers.body(AnswerCache::Form::kNative, keys);
  if (body.is_too_large) {
    refuse_large_answer(header);
  } else {
    reply_body(header, body);
  }
}

void NativeSession::refuse_large_answer(const Header& header) {
  reply_error(header, ErrorCode::kLimit,
              "multi_get: the answer is too large; ask for fewer keys at once");
}

void NativeSession::put_value(const Table::Value& value) {
  native::put_u64(out(), value.version);
  SharedBytes shared = value.bytes.shared();
  if (shared == nullptr) {
    native::put_string(out(), value.bytes);
  } else {
    native::put_u32(out(), static_cast<uint32_t>(shared->size()));
    connection().send_shared(std::move(shared));
  }
}

// The cancelled request is not answered: whoever cancels has stopped listening.
bool NativeSession::cancel(ByteReader& body) {
  Header target;
  target.channel = body.u16();
  target.id = body.u64();
  if (!whole(body) || target.id >> kIdBits != 0) return false;
  auto found = blocked_.find(tag_of(target));
  if (found == blocked_.end()) {
    if (runs_) runs_->cancel(target);
    return true;
  }
  if (found->second.timer) context_.loop.cancel(*found->second.timer);
  context_.table.cancel(found->second.waiter);
  Blocked blocked = std::move(found->second);
  blocked_.erase(found);
  leave_barrier(blocked);
  return true;
}

size_t NativeSession::begin_reply(const Header& header, ErrorCode status) {
  Header reply = header;
  reply.operation = static_cast<uint8_t>(header.operation | native::kReplyBit);
  reply.status = static_cast<uint8_t>(status);
  return native::begin_frame(out(), reply);
}

void NativeSession::begin_sized_reply(const Header& header, size_t body_bytes) {
  Header reply = header;
  reply.operation = static_cast<uint8_t>(header.operation | native::kReplyBit);
  reply.status = static_cast<uint8_t>(ErrorCode::kOk);
  reply.body_bytes = static_cast<uint32_t>(body_bytes);
  native::begin_frame(out(), reply);
}

void NativeSession::reply_body(const Header& header, const AnswerCache::Body& body) {
  begin_sized_reply(header, body.bytes);
  send_body(body);
}

void NativeSession::end_reply(size_t begin) {
  native::end_frame(out(), begin);
  connection().reply_ready();
}

void NativeSession::reply_u64(const Header& header, uint64_t value) {
  size_t begin = begin_reply(header);
  native::put_u64(out(), value);
  end_reply(begin);
}

void NativeSession::reply_error(const Header& header, ErrorCode code, const std::string& message) {
  size_t begin = begin_reply(header, code);
  native::put_string(out(), Bytes(message).substr(0, limits::kTextBytesMax));
  end_reply(begin);
}

void NativeSession::reply_timeout(const Header& header, const std::string& message,
                                  const std::vector<uint32_t>& missing) {
  size_t begin = begin_reply(header, ErrorCode::kTimeout);
  native::put_string(out(), Bytes(message).substr(0, limits::kTextBytesMax));
  native::put_u32(out(), static_cast<uint32_t>(missing.size()));
  for (uint32_t number : missing) native::put_u32(out(), number);
  end_reply(begin);
}

std::unique_ptr<Session> make_native_session(Connection& connection, ServerContext& context) {
  return std::make_unique<NativeSession>(connection, context);
}

}  // namespace rdzv
