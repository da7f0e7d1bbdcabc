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

bool is_exchange(const Header& header) {
  return header.operation == static_cast<uint8_t>(Operation::kExchange);
}

}  // namespace

NativeSession::NativeSession(Connection& connection, ServerContext& context)
    : Session(connection), context_(context) {}

NativeSession::~NativeSession() = default;

size_t NativeSession::consume(Bytes input) {
  context_.expire();
  size_t consumed = preamble_seen_ ? 0 : consume_preamble(input);
  if (!preamble_seen_) return 0;
  while (!connection().closed() && !connection().congested()) {
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
    handle(frame);
  }
  return consumed;
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
  std::unordered_map<uint64_t, Blocked> gone = std::exchange(blocked_, {});
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

bool NativeSession::refuse_to_block(const Header& header) {
  if (blocked_.count(tag_of(header)) > 0) {
    reply_error(header, ErrorCode::kProtocol, "a request with this id is still blocked");
    return true;
  }
  if (blocked_.size() >= limits::kWaitsPerConnectionMax) {
    reply_error(header, ErrorCode::kLimit,
                "more than " + std::to_string(limits::kWaitsPerConnectionMax) +
                    " blocked requests on one connection");
    return true;
  }
  return false;
}

NativeSession::Blocked* NativeSession::park(const Header& header, const std::vector<Bytes>& keys,
                                            Table::Need need, int64_t target) {
  if (refuse_to_block(header)) return nullptr;
  uint64_t tag = tag_of(header);
  Table::Waiter* waiter = context_.table.wait(*this, tag, keys, need, target);
  if (waiter == nullptr && is_exchange(header)) waiter = wait_for_slot(tag, keys.front(), target);
  if (waiter == nullptr) {
    answer(header, keys, target);
    return nullptr;
  }
  Blocked& blocked = blocked_[tag];
  if (is_exchange(header)) blocked.key = keys.front();
  blocked.header = header;
  blocked.waiter = waiter;
  blocked.wanted = keys.size();
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
    context_.exchange_view.look(context_.table, blocked.key, blocked.target);
    name(context_.exchange_view.missing());
    return exchange_timeout_text(as_user_knows(blocked.key), context_.exchange_view.missing(),
                                 blocked.target, blocked.timeout);
  }
  if (operation == Operation::kBarrier) {
    BarrierCall call = barrier_call(blocked);
    const std::vector<int64_t>& ranks = context_.barrier_view.missing(call, context_.table);
    name(ranks);
    int64_t count = context_.table.sum(blocked.key, 0).value;
    return barrier_timeout_text(call, count, ranks, blocked.timeout);
  }
  std::vector<uint32_t> positions = context_.table.missing_positions(*blocked.waiter);
  name(positions);
  std::vector<Bytes> keys = context_.table.missing_keys(*blocked.waiter);
  if (operation == Operation::kWatch) {
    return watch_timeout_text(as_user_knows(keys.front()), static_cast<uint64_t>(blocked.target),
                              blocked.timeout);
  }
  if (operation == Operation::kQueuePop)
    return queue_timeout_text(as_user_knows(keys.front()), blocked.timeout);
  for (Bytes& key : keys) key = as_user_knows(key);
  return timeout_text(native::name_of(operation), keys, blocked.wanted, blocked.timeout);
}

void NativeSession::on_woken(const Table::Woken& woken) {
  auto found = blocked_.find(woken.tag);
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
  } else {
    answer(blocked.header, std::vector<Bytes>(woken.keys.begin(), woken.keys.end()));
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
  for (Bytes key : keys) body_bytes += kValueOverheadBytes + context_.table.find(key)->bytes.size();
  if (body_bytes > limits::kRequestBytesMax) {
    reply_error(header, ErrorCode::kLimit,
                "multi_get: the answer is too large; ask for fewer keys at once");
    return;
  }
  begin_sized_reply(header, body_bytes);
  if (is_list) native::put_u32(out(), static_cast<uint32_t>(keys.size()));
  for (Bytes key : keys) put_value(*context_.table.find(key));
  connection().reply_ready();
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
