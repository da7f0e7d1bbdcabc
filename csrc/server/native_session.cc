#include "server/native_session.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "server/native_run.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;
using native::Operation;

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
