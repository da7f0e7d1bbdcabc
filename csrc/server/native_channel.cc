#include "server/native_channel.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "server/native_protocol.h"
#include "server/native_runs.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;
using native::Operation;

NativeChannel::NativeChannel(NativeProtocol& protocol, Connection& connection,
                             ServerContext& context, uint16_t number, uint64_t serial)
    : Waiting(connection.memory().parked),
      protocol_(protocol),
      connection_(connection),
      context_(context),
      number_(number),
      serial_(serial),
      blocked_(0, NumberHash{context.state.seed()}),
      aside_charge_(&connection.memory().input) {}

NativeChannel::~NativeChannel() = default;

void NativeChannel::serve(const native::Frame& frame) {
  const size_t unsent = connection().unsent();
  handle(frame);
  const size_t bytes = frame.body.size() + connection().unsent() - unsent;
  context_.budget.spend(Budget::kRequest + bytes / Budget::kBytesAUnit);
}

bool NativeChannel::finish_long_request() {
  if (long_request_ == nullptr) return true;
  if (!long_request_->go_on(context_.budget)) return false;
  long_request_.reset();
  return true;
}

void NativeChannel::reply_ready() {
  connection().reply_ready();
  protocol_.count_unsent(*this);
}

bool NativeChannel::is_congested() const {
  return unsent_ > context_.limits.unread_bytes;
}

bool NativeChannel::put_aside(Bytes frame, Bytes tail) {
  const size_t bytes = frame.size() + tail.size();
  if (!aside_.empty() && aside_.size() + bytes > limits::kChannelInputBytesMax) return false;
  aside_.append(frame).append(tail);
  aside_charge_.resize(heap_bytes(aside_.capacity()));
  if (context_.memory.input.used() > context_.limits.input_bytes)
    end_the_largest(context_, kInputAccount);
  return true;
}

void NativeChannel::take_debt() {
  debt_ += context_.budget.take_debt();
}

void NativeChannel::go_on_later() {
  if (has_work() && !is_congested()) context_.chores.begin(*this);
}

bool NativeChannel::work(Budget& budget) {
  bool is_done = true;
  connection().guarded([&] { is_done = go_on(budget); });
  return is_done;
}

// True: there is nothing to do, or nothing before the peer has read more.
bool NativeChannel::go_on(Budget& budget) {
  context_.expire();
  const size_t paid = std::min(debt_, budget.left());
  budget.spend(paid);
  debt_ -= paid;
  if (debt_ > 0) return false;
  const bool is_done = serve_aside(budget);
  if (connection().closed() || connection().is_ending()) return true;
  if (has_left_) {
    protocol_.close(*this);
    return true;
  }
  take_debt();
  protocol_.go_on_reading();
  return is_done && debt_ == 0;
}

bool NativeChannel::serve_aside(Budget& budget) {
  size_t served = 0;
  bool is_done = true;
  while (!connection().closed() && !has_left_) {
    if (is_congested() || connection().congested()) break;
    if (budget.is_spent() || !finish_long_request()) {
      is_done = !has_work();
      break;
    }
    native::Frame frame;
    if (has_left_ ||
        native::next_frame(Bytes(aside_).substr(served), frame) != native::Progress::kTaken)
      break;
    served += native::kHeaderBytes + frame.body.size();
    serve(frame);
  }
  aside_.erase(0, served);
  release_if_mostly_empty(aside_);
  aside_charge_.resize(heap_bytes(aside_.capacity()));
  return is_done || !has_work();
}

// A channel that ends: what it left is cleared away as if its connection were gone.
class NativeChannel::Closing final : public LongRequest {
 public:
  Closing(NativeChannel& channel, const Header& header) : channel_(channel), header_(header) {}

  bool go_on(Budget& budget) override {
    if (!channel_.leave(budget)) return false;
    channel_.reply(header_, native::Nothing());
    channel_.has_left_ = true;
    return true;
  }

 private:
  NativeChannel& channel_;
  const Header header_;
};

void NativeChannel::close_channel(const Header& header, const native::CloseChannelRequest&) {
  if (header.channel == 0) {
    reply_error(header, ErrorCode::kInvalidArgument,
                "close_channel: channel 0 cannot be closed; close the connection");
    return;
  }
  long_request_ = std::make_unique<Closing>(*this, header);
}

bool NativeChannel::leave(Budget& budget) {
  late_.reset();
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

// Of who is no ordinary member. False: it was refused.
bool NativeChannel::is_allowed(const Header& header, const Served& served) {
  Audit& audit = context_.commons.records.audit;
  const char* name = native::name_of(served.operation);
  if (!may(connection_.role(), served.right)) {
    const std::string why = refused_right_text(name);
    audit.refused(connection_, name, why);
    reply_error(header, ErrorCode::kRefused, why);
    return false;
  }
  if (connection_.role() == tls::Role::kAdmin && served.right == Right::kChange)
    audit.done_by_admin(connection_, name);
  return true;
}

void NativeChannel::handle(const native::Frame& frame) {
  const Header& header = frame.header;
  const Served* served = NativeChannel::served(header.operation);
  if (served == nullptr) {
    reply_error(header, ErrorCode::kUnsupported,
                "this server (version " + std::string(kVersion) + ") does not know operation " +
                    std::to_string(header.operation));
    return;
  }
  if (connection_.role() != tls::Role::kMember && !is_allowed(header, *served)) return;
  const size_t body_bytes = frame.body.size() + frame.tail.size();
  if (served->kind == Kind::kStore && context_.is_full(body_bytes)) {
    reply_error(header, ErrorCode::kLimit, context_.full_text(body_bytes));
    return;
  }
  bool is_read = false;
  {
    const CountedRequest counted(context_.commons.records.counters.native[header.operation],
                                 context_.commons.records.stopwatch);
    is_read = served->run(*this, frame);
  }
  if (served->kind == Kind::kWrite || served->kind == Kind::kStore) context_.wake();
  if (is_read) return;
  reply_error(header, ErrorCode::kProtocol,
              std::string("malformed ") +
                  native::name_of(static_cast<Operation>(header.operation)) +
                  " request: a field is truncated, left over or above its limit (key " +
                  std::to_string(limits::kWireKeyBytesMax) + " B, value " +
                  std::to_string(limits::kValueBytesMax) + " B, " +
                  std::to_string(limits::kKeysPerRequestMax) + " keys)");
}

// To a request whose need is met.
void NativeChannel::answer(const Header& header, const std::vector<Bytes>& keys) {
  if (static_cast<Operation>(header.operation) == Operation::kWatch) {
    answer_value(header, keys.front());
  } else {
    answer_present(header, keys);
  }
}

void NativeChannel::answer_present(const Header& header, const std::vector<Bytes>& keys) {
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
  reply_ready();
}

bool NativeChannel::answer_list(const Header& header, const SharedKeys& keys) {
  if (header.operation == static_cast<uint8_t>(Operation::kWait)) {
    reply(header, native::Nothing());
    return true;
  }
  const AnswerBody* body = context_.composed.answers.body(AnswerCache::Form::kNative, keys);
  if (body == nullptr) return false;
  if (body->is_too_large()) {
    refuse_large_answer(header);
  } else {
    reply_body(header, *body);
  }
  return true;
}

void NativeChannel::refuse_large_answer(const Header& header) {
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

void NativeChannel::put_value(const Table::Value& value) {
  const native::ValueReply reply{value.version, value.bytes};
  if (SharedBytes shared = value.bytes.shared()) {
    PutShared put(connection(), std::move(shared));
    native::ValueReply::fields(put, reply);
  } else {
    native::put(out(), reply);
  }
}

void NativeChannel::begin_sized_reply(const Header& header, size_t body_bytes) {
  Header reply = native::reply_to(header);
  reply.body_bytes = static_cast<uint32_t>(body_bytes);
  native::begin_frame(out(), reply);
}

void NativeChannel::reply_body(const Header& header, const AnswerBody& body) {
  begin_sized_reply(header, body.bytes());
  send_body(body);
}

void NativeChannel::send_body(const AnswerBody& body) {
  connection().send_body(body);
  protocol_.count_unsent(*this);
}

void NativeChannel::reply_error(const Header& header, ErrorCode code, const std::string& message) {
  reply(header, native::ErrorReply{Bytes(message).substr(0, limits::kTextBytesMax), {}}, code);
}

void NativeChannel::reply_timeout(const Header& header, const std::string& message,
                                  std::vector<uint32_t> missing) {
  const Bytes text = Bytes(message).substr(0, limits::kTextBytesMax);
  reply(header, native::ErrorReply{text, {std::move(missing)}}, ErrorCode::kTimeout);
}

}  // namespace rdzv
