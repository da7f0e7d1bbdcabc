#include "server/native_protocol.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "server/native_runs.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;
using native::Operation;

NativeProtocol::NativeProtocol(Connection& connection, ServerContext& context)
    : Protocol(connection, connection.memory().parked),
      context_(context),
      blocked_(0, NumberHash{context.state.seed()}) {}

NativeProtocol::~NativeProtocol() = default;

size_t NativeProtocol::consume(Bytes input) {
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
    if (progress == native::Progress::kMalformed) {
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
bool NativeProtocol::finish_long_request() {
  if (long_request_ == nullptr) return true;
  if (!long_request_->go_on(context_.budget)) return false;
  long_request_.reset();
  return true;
}

size_t NativeProtocol::consume_preamble(Bytes input) {
  native::Preamble preamble;
  const native::Progress progress = native::take_preamble(input, preamble);
  if (progress == native::Progress::kNotMine) {
    connection().close("it speaks neither of our protocols; its first bytes are " +
                       quoted(input.substr(0, 16)));
  }
  if (progress != native::Progress::kTaken) return 0;
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

bool NativeProtocol::Late::work(Budget& budget) {
  while (!protocol_.late_.empty() && !protocol_.connection().closed()) {
    if (budget.is_spent() || !protocol_.late_.front()->go_on(budget)) return false;
    budget.spend(Budget::kWake);
    protocol_.late_.pop_front();
  }
  return true;
}

bool NativeProtocol::leave(Budget& budget) {
  late_.clear();
  for (; !blocked_.empty(); budget.spend(Budget::kLeave)) {
    if (budget.is_spent()) return false;
    auto gone = blocked_.extract(blocked_.begin());
    Blocked& blocked = gone.mapped();
    context_.clock.timers.cancel(blocked.timer);
    context_.state.view().cancel(blocked.waiter);
    leave_barrier(blocked);
  }
  return runs_ == nullptr || runs_->leave_all(budget);
}

void NativeProtocol::handle(const native::Frame& frame) {
  const Header& header = frame.header;
  if (header.id >> native::kIdBits != 0) {
    reply_error(header, ErrorCode::kProtocol, "request ids stay below 2^48");
    return;
  }
  if (!hello_seen_) {
    hello(frame);
    return;
  }
  const Served* served = NativeProtocol::served(header.operation);
  if (served == nullptr) {
    reply_error(header, ErrorCode::kUnsupported,
                "this server (version " + std::string(kVersion) + ") does not know operation " +
                    std::to_string(header.operation));
    return;
  }
  if (served->kind == Kind::kStore && context_.is_full(frame.body.size())) {
    reply_error(header, ErrorCode::kLimit, context_.full_text());
    return;
  }
  const bool is_read = served->run(*this, frame);
  if (served->kind == Kind::kWrite || served->kind == Kind::kStore) context_.wake();
  if (is_read) return;
  reply_error(header, ErrorCode::kProtocol,
              std::string("malformed ") +
                  native::name_of(static_cast<Operation>(header.operation)) +
                  " request: a field is cut, left over or above its limit (key " +
                  std::to_string(limits::kWireKeyBytesMax) + " B, value " +
                  std::to_string(limits::kValueBytesMax) + " B, " +
                  std::to_string(limits::kKeysPerRequestMax) + " keys)");
}

void NativeProtocol::hello(const native::Frame& frame) {
  native::HelloRequest request;
  if (native::take_request(frame, request) != native::Progress::kTaken) {
    connection().close("its first frame is no HELLO");
    return;
  }
  hello_seen_ = true;
  std::string observed = connection().peer_host();
  std::string server = std::string("rendezvous ") + kVersion;
  native::HelloReply hello;
  hello.instance = context_.instance;
  hello.observed_address = observed;
  hello.server = server;
  hello.key_bytes_max = limits::kWireKeyBytesMax;
  hello.value_bytes_max = limits::kValueBytesMax;
  hello.keys_per_request_max = limits::kKeysPerRequestMax;
  reply(frame.header, hello);
}

// To a request whose need is met.
void NativeProtocol::answer(const Header& header, const std::vector<Bytes>& keys) {
  switch (static_cast<Operation>(header.operation)) {
    case Operation::kWatch:
      return answer_value(header, keys.front());
    default:
      return answer_present(header, keys);
  }
}

void NativeProtocol::answer_present(const Header& header, const std::vector<Bytes>& keys) {
  auto operation = static_cast<Operation>(header.operation);
  if (operation == Operation::kWait || operation == Operation::kBarrier) {
    reply(header, native::Nothing());
    return;
  }
  bool is_list = operation == Operation::kMultiGet;
  size_t body_bytes = is_list ? sizeof(uint32_t) : 0;
  size_t shared_bytes = 0;
  for (Bytes key : keys) {
    const size_t value_bytes = context_.state.table().find(key)->bytes.size();
    body_bytes += kNoValueBytes + value_bytes;
    if (value_bytes >= ValueBytes::kSharedMin) shared_bytes += value_bytes;
  }
  if (body_bytes > limits::kRequestBytesMax) {
    refuse_large_answer(header);
    return;
  }
  if (!connection().has_room(body_bytes - shared_bytes)) return;
  begin_sized_reply(header, body_bytes);
  if (is_list) native::put_u32(out(), static_cast<uint32_t>(keys.size()));
  for (Bytes key : keys) put_value(*context_.state.table().find(key));
  connection().reply_ready();
}

void NativeProtocol::answer_list(const Header& header, const SharedKeys& keys) {
  if (header.operation == static_cast<uint8_t>(Operation::kWait)) {
    reply(header, native::Nothing());
    return;
  }
  const AnswerCache::Body& body = context_.composed.answers.body(AnswerCache::Form::kNative, keys);
  if (body.is_too_large) {
    refuse_large_answer(header);
  } else {
    reply_body(header, body);
  }
}

void NativeProtocol::refuse_large_answer(const Header& header) {
  reply_error(header, ErrorCode::kLimit,
              "multi_get: the answer is too large; ask for fewer keys at once");
}

namespace {

// Sends a large value as it is, without a copy.
class PutShared : public native::Put {
 public:
  PutShared(Connection& connection, SharedBytes value)
      : Put(connection.out()), connection_(connection), value_(std::move(value)) {}

  using Put::field;
  void field(const char*, const native::Value& value) {
    native::put_u32(out_, static_cast<uint32_t>(value.size()));
    connection_.send_shared(std::move(value_));
  }

 private:
  Connection& connection_;
  SharedBytes value_;
};

}  // namespace

void NativeProtocol::put_value(const Table::Value& value) {
  const native::ValueReply reply{value.version, value.bytes};
  if (SharedBytes shared = value.bytes.shared()) {
    PutShared put(connection(), std::move(shared));
    native::ValueReply::fields(put, reply);
  } else {
    native::put(out(), reply);
  }
}

void NativeProtocol::begin_sized_reply(const Header& header, size_t body_bytes) {
  Header reply = native::reply_to(header);
  reply.body_bytes = static_cast<uint32_t>(body_bytes);
  native::begin_frame(out(), reply);
}

void NativeProtocol::reply_body(const Header& header, const AnswerCache::Body& body) {
  begin_sized_reply(header, body.bytes);
  send_body(body);
}

void NativeProtocol::reply_error(const Header& header, ErrorCode code, const std::string& message) {
  reply(header, native::ErrorReply{Bytes(message).substr(0, limits::kTextBytesMax), {}}, code);
}

void NativeProtocol::reply_timeout(const Header& header, const std::string& message,
                                   std::vector<uint32_t> missing) {
  const Bytes text = Bytes(message).substr(0, limits::kTextBytesMax);
  reply(header, native::ErrorReply{text, {std::move(missing)}}, ErrorCode::kTimeout);
}

std::unique_ptr<Protocol> make_native_protocol(Connection& connection, ServerContext& context) {
  return std::make_unique<NativeProtocol>(connection, context);
}

}  // namespace rdzv
