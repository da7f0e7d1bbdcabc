#include "support.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "base/log.h"
#include "net/address.h"
#include "net/socket.h"

namespace rdzv::test {

using c10d::Code;
using native::Operation;

std::string c10d_request(Code code, const std::vector<Bytes>& strings) {
  Fields fields;
  fields.u8(static_cast<uint8_t>(code));
  bool counted = code == Code::kCheck || code == Code::kWait || code == Code::kMultiGet;
  if (counted) fields.u64(strings.size());
  if (code == Code::kMultiSet) fields.u64(strings.size() / 2);
  for (Bytes string : strings) fields.string64(string);
  return fields.bytes;
}

std::string c10d_validate() {
  return Fields().u8(0).u32(0x3C85F7CE).bytes;
}

std::string c10d_ping(uint32_t nonce) {
  return Fields().u8(0x0D).u32(nonce).bytes;
}

std::string c10d_add(Bytes key, int64_t amount) {
  return Fields().u8(0x04).string64(key).u64(static_cast<uint64_t>(amount)).bytes;
}

std::string c10d_barrier(Bytes key, int64_t world_size) {
  return Fields().u8(0x12).string64(key).u64(static_cast<uint64_t>(world_size)).bytes;
}

std::string c10d_bytes(Bytes value) {
  return Fields().string64(value).bytes;
}

std::string shown(const c10d::Request& request) {
  std::string text = std::string(c10d::name_of(request.code)) + "(";
  for (size_t i = 0; i < request.strings.size(); ++i) {
    if (i > 0) text += ", ";
    text.append(request.strings[i]);
  }
  bool numbered = request.code == Code::kValidate || request.code == Code::kAdd ||
                  request.code == Code::kPing || request.code == Code::kBarrier;
  if (numbered) text += "; " + std::to_string(request.number);
  return text + ")";
}

std::string native_frame(Operation operation, uint64_t id, Bytes body, uint16_t channel) {
  Fields fields;
  fields.u32(body.size()).u8(static_cast<uint8_t>(operation)).u8(0).u16(channel).u64(id);
  return fields.raw(body).bytes;
}

std::string native_greeting() {
  Fields hello;
  hello.u32(0).raw("0123456789abcdef").string32("").string32("a test");
  return Fields().raw("RDZV").u16(native::kVersion).u16(native::kVersion).bytes +
         native_frame(Operation::kHello, 0, hello.bytes);
}

std::string native_set(uint64_t id, Bytes key, Bytes value) {
  return native_frame(Operation::kSet, id, Fields().string32(key).string32(value).bytes);
}

std::string native_get(uint64_t id, Bytes key, uint32_t timeout_ms) {
  return native_frame(Operation::kGet, id, Fields().u32(timeout_ms).string32(key).bytes);
}

std::string native_cancel(uint64_t id, uint64_t target) {
  return native_frame(Operation::kCancel, id, Fields().u16(0).u64(target).bytes);
}

Peer::Peer(uint16_t port) {
  SocketAddress address = resolve("127.0.0.1", port, Deadline::after(kHang)).front();
  int error = 0;
  fd_ = connect_to(address, kHang, error);
  REQUIRE_MESSAGE(fd_, "connect: " << errno_text(error));
}

bool Peer::try_send(Bytes bytes) {
  while (!bytes.empty()) {
    long sent = send_some(fd_.get(), bytes);
    if (sent == kBroken) return false;
    if (sent == kWouldBlock) {
      REQUIRE_MESSAGE(wait_ready(fd_.get(), false, true, kHang).writable, "the server reads on");
      continue;
    }
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

size_t Peer::send_until_stuck(Bytes bytes, Duration patience) {
  size_t total = 0;
  while (total < bytes.size()) {
    long sent = send_some(fd_.get(), bytes.substr(total));
    REQUIRE(sent != kBroken);
    if (sent > 0) total += static_cast<size_t>(sent);
    if (sent == kWouldBlock && !wait_ready(fd_.get(), false, true, patience).writable) break;
  }
  return total;
}

void Peer::send(Bytes bytes) {
  REQUIRE(try_send(bytes));
}

std::string Peer::receive(size_t count) {
  std::string received(count, '\0');
  for (size_t got = 0; got < count;) {
    long some = receive_some(fd_.get(), received.data() + got, count - got);
    REQUIRE_MESSAGE(some != kBroken, "the server hung up after " << got << " bytes of " << count);
    if (some == kWouldBlock) {
      REQUIRE_MESSAGE(wait_ready(fd_.get(), true, false, kHang).readable, "the server answers");
      continue;
    }
    got += static_cast<size_t>(some);
  }
  return received;
}

std::string Peer::receive_to_end() {
  std::string all;
  char buffer[16 * 1024];
  for (;;) {
    long some = receive_some(fd_.get(), buffer, sizeof(buffer));
    if (some == kBroken) return all;
    if (some == kWouldBlock) {
      REQUIRE_MESSAGE(wait_ready(fd_.get(), true, false, kHang).readable, "the server hangs up");
      continue;
    }
    all.append(buffer, static_cast<size_t>(some));
  }
}

std::string Peer::receive_available() {
  std::string all;
  char buffer[16 * 1024];
  for (;;) {
    long some = receive_some(fd_.get(), buffer, sizeof(buffer));
    if (some < 0) return all;
    all.append(buffer, static_cast<size_t>(some));
  }
}

void Peer::end_sending() {
  REQUIRE(::shutdown(fd_.get(), SHUT_WR) == 0);
}

void Peer::end_sending_if_open() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void Peer::reset_connection() {
  linger at_once{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  fd_.reset();
}

int64_t C10dPeer::receive_i64() {
  return static_cast<int64_t>(load_little_endian<uint64_t>(receive(8).data()));
}

std::string C10dPeer::receive_bytes() {
  return receive(static_cast<size_t>(receive_i64()));
}

void C10dPeer::ping(uint32_t nonce) {
  send(c10d_ping(nonce));
  REQUIRE(load_little_endian<uint32_t>(receive(4).data()) == nonce);
}

NativePeer::NativePeer(uint16_t port) : Peer(port) {
  send(native_greeting());
  Answer answer = receive_answer();
  REQUIRE(answer.operation == Operation::kHello);
  REQUIRE(answer.status == ErrorCode::kOk);
  hello_ = answer.body;
}

NativePeer::Answer NativePeer::receive_answer() {
  std::string header = receive(native::kHeaderBytes);
  ByteReader reader(header);
  uint32_t body_bytes = reader.u32();
  uint8_t operation = reader.u8();
  REQUIRE((operation & native::kReplyBit) != 0);
  Answer answer;
  answer.operation = static_cast<Operation>(operation & ~native::kReplyBit);
  answer.status = static_cast<ErrorCode>(reader.u8());
  reader.u16();
  answer.id = reader.u64();
  answer.body = receive(body_bytes);
  return answer;
}

NativePeer::Answer NativePeer::call(Operation operation, Bytes body) {
  uint64_t id = ++last_id_;
  send(native_frame(operation, id, body));
  Answer answer = receive_answer();
  REQUIRE(answer.id == id);
  REQUIRE(answer.operation == operation);
  return answer;
}

void NativePeer::ping() {
  REQUIRE(call(Operation::kPing).status == ErrorCode::kOk);
}

std::string NativePeer::Answer::message() const {
  ByteReader reader(body);
  std::string text(reader.take(reader.u32()));
  // A timeout may name what is missing.
  if (status == ErrorCode::kTimeout && reader.left() > 0) reader.take(4 * size_t{reader.u32()});
  return reader.ok() && reader.left() == 0 ? text : "not a message";
}

std::string logged(const std::string& part) {
  std::string found;
  while (std::optional<LogRecord> record = LogQueue::instance().read(Duration::zero())) {
    if (record->message.find(part) != std::string::npos) found = record->message;
  }
  return found;
}

}  // namespace rdzv::test
