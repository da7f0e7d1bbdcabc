// The native protocol's side of a connection (docs/protocol.md). Errors are answers; only a peer
// that breaks the framing is disconnected. Blocked requests are waits in the table with a timer in
// the loop, found by request id.
#include <cstring>
#include <optional>
#include <unordered_map>

#include "base/text.h"
#include "base/version.h"
#include "server/connection.h"
#include "server/session.h"
#include "store/store.h"
#include "wire/limits.h"
#include "wire/native.h"

namespace rdzv {
namespace {

using native::Header;
using native::Operation;

constexpr int kIdBits = 48;  // request ids stay below, so that channel and id make one tag

uint64_t tag_of(const Header& header) {
  return uint64_t{header.channel} << kIdBits | header.id;
}

Bytes as_user_knows(Bytes wire_key) {
  return wire_key.starts_with('/') ? wire_key.substr(1) : wire_key;
}

class NativeSession final : public Session {
 public:
  NativeSession(Connection& connection, ServerContext& context)
      : Session(connection), context_(context) {}

  size_t consume(Bytes input) override;
  void on_closed() override;
  void on_woken(const Table::Woken& woken) override;

 private:
  struct Blocked {
    Header header;
    Table::Waiter* waiter = nullptr;
    size_t wanted = 0;
    Duration timeout{};
    std::optional<EventLoop::TimerId> timer;
  };

  std::string& out() { return connection().out(); }

  size_t consume_preamble(Bytes input);
  void handle(const native::Frame& frame);
  void hello(const native::Frame& frame);
  bool handle_write(const native::Frame& frame);
  bool handle_read(const native::Frame& frame);

  bool set(const Header& header, ByteReader& body);
  bool append(const Header& header, ByteReader& body);
  bool compare_set(const Header& header, ByteReader& body);
  bool add(const Header& header, ByteReader& body);
  bool delete_key(const Header& header, ByteReader& body);
  bool multi_set(const Header& header, ByteReader& body);
  bool check(const Header& header, ByteReader& body);
  bool list_keys(const Header& header, ByteReader& body);
  bool get(const Header& header, ByteReader& body);
  bool wait(const Header& header, ByteReader& body);
  bool cancel(ByteReader& body);

  void block(const Header& header, const std::vector<Bytes>& keys, uint32_t timeout_ms);
  void on_deadline(uint64_t tag);
  void answer_present(const Header& header, const std::vector<Bytes>& keys);

  // A reply is what is appended to out() between these two.
  size_t begin_reply(const Header& header, ErrorCode status = ErrorCode::kOk);
  void end_reply(size_t begin);
  void reply_version(const Header& header, uint64_t version);
  void reply_error(const Header& header, ErrorCode code, const std::string& message);

  ServerContext& context_;
  std::unordered_map<uint64_t, Blocked> blocked_;
  bool preamble_seen_ = false;
  bool hello_seen_ = false;
};

size_t NativeSession::consume(Bytes input) {
  size_t consumed = preamble_seen_ ? 0 : consume_preamble(input);
  if (!preamble_seen_) return 0;
  while (!connection().closed() && !connection().congested()) {
    native::Frame frame;
    native::Progress progress = native::next_frame(input.substr(consumed), frame);
    if (progress == native::Progress::kNeedMore) break;
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
  blocked_.clear();
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
  if (handle_write(frame) || handle_read(frame)) return;
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

bool NativeSession::handle_write(const native::Frame& frame) {
  ByteReader body(frame.body);
  bool handled = false;
  switch (static_cast<Operation>(frame.header.operation)) {
    case Operation::kSet:
      handled = set(frame.header, body);
      break;
    case Operation::kAppend:
      handled = append(frame.header, body);
      break;
    case Operation::kCompareSet:
      handled = compare_set(frame.header, body);
      break;
    case Operation::kAdd:
      handled = add(frame.header, body);
      break;
    case Operation::kDeleteKey:
      handled = delete_key(frame.header, body);
      break;
    case Operation::kMultiSet:
      handled = multi_set(frame.header, body);
      break;
    default:
      return false;
  }
  context_.wake();
  return handled;
}

bool NativeSession::handle_read(const native::Frame& frame) {
  const Header& header = frame.header;
  ByteReader body(frame.body);
  switch (static_cast<Operation>(header.operation)) {
    case Operation::kPing:
      if (body.left() != 0) return false;
      end_reply(begin_reply(header));
      return true;
    case Operation::kNumKeys:
      if (body.left() != 0) return false;
      reply_version(header, context_.table.size());
      return true;
    case Operation::kListKeys:
      return list_keys(header, body);
    case Operation::kCheck:
      return check(header, body);
    case Operation::kGet:
      return get(header, body);
    case Operation::kWait:
    case Operation::kMultiGet:
      return wait(header, body);
    case Operation::kCancel:
      return cancel(body);
    default:
      return false;
  }
}

bool whole(const ByteReader& body) {
  return body.ok() && body.left() == 0;
}

bool NativeSession::set(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes value = native::take_string(body, limits::kValueBytesMax);
  if (!whole(body)) return false;
  reply_version(header, context_.table.set(key, value));
  return true;
}

bool NativeSession::append(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes value = native::take_string(body, limits::kValueBytesMax);
  if (!whole(body)) return false;
  const Table::Value* before = context_.table.find(key);
  size_t size = (before == nullptr ? 0 : before->bytes.size()) + value.size();
  if (size > limits::kValueBytesMax) {
    reply_error(header, ErrorCode::kLimit,
                "append: the value of key " + quoted(as_user_knows(key)) + " would have " +
                    std::to_string(size) + " bytes; the limit is " +
                    std::to_string(limits::kValueBytesMax));
    return true;
  }
  reply_version(header, context_.table.append(key, value));
  return true;
}

bool NativeSession::compare_set(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes expected = native::take_string(body, limits::kValueBytesMax);
  Bytes desired = native::take_string(body, limits::kValueBytesMax);
  if (!whole(body)) return false;
  Table::CompareSet result = context_.table.compare_set(key, expected, desired);
  size_t begin = begin_reply(header);
  native::put_u8(out(), result.swapped ? 1 : 0);
  native::put_u8(out(), result.current != nullptr ? 1 : 0);
  native::put_u64(out(), result.current != nullptr ? result.current->version : 0);
  // The caller knows what it has set itself.
  native::put_string(
      out(), result.swapped || result.current == nullptr ? Bytes() : Bytes(result.current->bytes));
  end_reply(begin);
  return true;
}

bool NativeSession::add(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  int64_t amount = body.i64();
  if (!whole(body)) return false;
  Table::Add result = context_.table.add(key, amount);
  if (result.status != Table::AddStatus::kOk) {
    bool overflow = result.status == Table::AddStatus::kOverflow;
    reply_error(
        header, ErrorCode::kNotANumber,
        not_a_number_text(as_user_knows(key), context_.table.find(key)->bytes, amount, overflow));
    return true;
  }
  size_t begin = begin_reply(header);
  native::put_u64(out(), static_cast<uint64_t>(result.value));
  native::put_u64(out(), result.version);
  end_reply(begin);
  return true;
}

bool NativeSession::delete_key(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  if (!whole(body)) return false;
  size_t begin = begin_reply(header);
  native::put_u8(out(), context_.table.erase(key) ? 1 : 0);
  end_reply(begin);
  return true;
}

bool NativeSession::multi_set(const Header& header, ByteReader& body) {
  if (!native::take_strings(body, 2, context_.strings) || !whole(body)) return false;
  context_.table.multi_set(context_.strings);
  end_reply(begin_reply(header));
  return true;
}

bool NativeSession::check(const Header& header, ByteReader& body) {
  if (!native::take_strings(body, 1, context_.strings) || !whole(body)) return false;
  size_t begin = begin_reply(header);
  native::put_u8(out(), context_.table.has_all(context_.strings) ? 1 : 0);
  end_reply(begin);
  return true;
}

bool NativeSession::list_keys(const Header& header, ByteReader& body) {
  Bytes prefix = native::take_string(body, limits::kWireKeyBytesMax);
  if (!whole(body)) return false;
  size_t begin = begin_reply(header);
  size_t count_at = out().size();
  native::put_u32(out(), 0);
  uint32_t count = 0;
  context_.table.for_each_key([&](Bytes key) {
    if (!key.starts_with(prefix) || out().size() - begin > limits::kRequestBytesMax) return;
    native::put_string(out(), key);
    ++count;
  });
  if (out().size() - begin > limits::kRequestBytesMax) {
    out().resize(begin);
    reply_error(header, ErrorCode::kLimit,
                "list_keys: the answer is too large; ask for a longer prefix");
    return true;
  }
  for (size_t i = 0; i < sizeof(count); ++i)
    out()[count_at + i] = static_cast<char>((count >> (8 * i)) & 0xFF);
  end_reply(begin);
  return true;
}

bool NativeSession::get(const Header& header, ByteReader& body) {
  uint32_t timeout_ms = body.u32();
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  if (!whole(body)) return false;
  context_.strings.assign(1, key);
  block(header, context_.strings, timeout_ms);
  return true;
}

bool NativeSession::wait(const Header& header, ByteReader& body) {
  uint32_t timeout_ms = body.u32();
  if (!native::take_strings(body, 1, context_.strings) || !whole(body)) return false;
  block(header, context_.strings, timeout_ms);
  return true;
}

void NativeSession::block(const Header& header, const std::vector<Bytes>& keys,
                          uint32_t timeout_ms) {
  if (context_.table.has_all(keys)) {
    answer_present(header, keys);
    return;
  }
  uint64_t tag = tag_of(header);
  if (blocked_.count(tag) > 0) {
    reply_error(header, ErrorCode::kProtocol, "a request with this id is still blocked");
    return;
  }
  if (blocked_.size() >= limits::kWaitsPerConnectionMax) {
    reply_error(header, ErrorCode::kLimit,
                "more than " + std::to_string(limits::kWaitsPerConnectionMax) +
                    " blocked requests on one connection");
    return;
  }
  Blocked& blocked = blocked_[tag];
  blocked.header = header;
  blocked.wanted = keys.size();
  blocked.timeout = std::chrono::milliseconds(timeout_ms);
  blocked.waiter = context_.table.wait(*this, tag, keys);
  if (timeout_ms == 0) {
    on_deadline(tag);
  } else if (timeout_ms != native::kNoTimeout) {
    blocked.timer =
        context_.loop.call_at(now() + blocked.timeout, [this, tag] { on_deadline(tag); });
  }
}

void NativeSession::on_deadline(uint64_t tag) {
  auto found = blocked_.find(tag);
  Blocked& blocked = found->second;
  const char* name = native::name_of(static_cast<Operation>(blocked.header.operation));
  std::vector<Bytes> missing = context_.table.missing_keys(*blocked.waiter);
  for (Bytes& key : missing) key = as_user_knows(key);
  std::string text = timeout_text(name, missing, blocked.wanted, blocked.timeout);
  context_.table.cancel(blocked.waiter);
  reply_error(blocked.header, ErrorCode::kTimeout, text);
  blocked_.erase(found);
}

void NativeSession::on_woken(const Table::Woken& woken) {
  auto found = blocked_.find(woken.tag);
  Blocked& blocked = found->second;
  if (blocked.timer) context_.loop.cancel(*blocked.timer);
  Header header = blocked.header;
  blocked_.erase(found);
  answer_present(header, std::vector<Bytes>(woken.keys.begin(), woken.keys.end()));
}

void NativeSession::answer_present(const Header& header, const std::vector<Bytes>& keys) {
  auto operation = static_cast<Operation>(header.operation);
  size_t begin = begin_reply(header);
  if (operation == Operation::kMultiGet) native::put_u32(out(), static_cast<uint32_t>(keys.size()));
  for (Bytes key : keys) {
    if (operation == Operation::kWait) break;
    const Table::Value* value = context_.table.find(key);
    native::put_u64(out(), value->version);
    native::put_string(out(), value->bytes);
    if (out().size() - begin <= limits::kRequestBytesMax) continue;
    out().resize(begin);
    reply_error(header, ErrorCode::kLimit,
                "multi_get: the answer is too large; ask for fewer keys at once");
    return;
  }
  end_reply(begin);
}

// The cancelled request is not answered: whoever cancels has stopped listening.
bool NativeSession::cancel(ByteReader& body) {
  Header target;
  target.channel = body.u16();
  target.id = body.u64();
  if (!whole(body) || target.id >> kIdBits != 0) return false;
  auto found = blocked_.find(tag_of(target));
  if (found == blocked_.end()) return true;
  if (found->second.timer) context_.loop.cancel(*found->second.timer);
  context_.table.cancel(found->second.waiter);
  blocked_.erase(found);
  return true;
}

size_t NativeSession::begin_reply(const Header& header, ErrorCode status) {
  Header reply = header;
  reply.operation = static_cast<uint8_t>(header.operation | native::kReplyBit);
  reply.status = static_cast<uint8_t>(status);
  return native::begin_frame(out(), reply);
}

void NativeSession::end_reply(size_t begin) {
  native::end_frame(out(), begin);
  connection().reply_ready();
}

void NativeSession::reply_version(const Header& header, uint64_t version) {
  size_t begin = begin_reply(header);
  native::put_u64(out(), version);
  end_reply(begin);
}

void NativeSession::reply_error(const Header& header, ErrorCode code, const std::string& message) {
  size_t begin = begin_reply(header, code);
  native::put_string(out(), Bytes(message).substr(0, limits::kTextBytesMax));
  end_reply(begin);
}

}  // namespace

std::unique_ptr<Session> make_native_session(Connection& connection, ServerContext& context) {
  return std::make_unique<NativeSession>(connection, context);
}

}  // namespace rdzv
