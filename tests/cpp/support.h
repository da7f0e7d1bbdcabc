// What the tests of the protocols and of the server share: bytes of both protocols built by hand
// (not by the code under test), requests shown as text, and raw sockets that speak to a server.
// Belongs to the test's thread: it fails the test when the server does not do its part.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "wire/c10d.h"
#include "wire/messages.h"

namespace rdzv::test {

// Only a hang lasts that long.
inline constexpr Duration kHang = std::chrono::seconds(120);

// A copy of exactly its size on the heap, so that AddressSanitizer sees a read past the end.
class Exact {
 public:
  explicit Exact(Bytes bytes) : copy_(new char[bytes.size()]), size_(bytes.size()) {
    bytes.copy(copy_.get(), size_);
  }
  Bytes view() const { return Bytes(copy_.get(), size_); }

 private:
  std::unique_ptr<char[]> copy_;
  size_t size_;
};

// Little-endian fields, one after the other.
struct Fields {
  std::string bytes{};

  Fields& number(uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
    return *this;
  }
  Fields& u8(uint64_t value) { return number(value, 1); }
  Fields& u16(uint64_t value) { return number(value, 2); }
  Fields& u32(uint64_t value) { return number(value, 4); }
  Fields& u64(uint64_t value) { return number(value, 8); }
  Fields& raw(Bytes value) {
    bytes.append(value);
    return *this;
  }
  Fields& string32(Bytes value) { return u32(value.size()).raw(value); }
  Fields& string64(Bytes value) { return u64(value.size()).raw(value); }
};

// The c10d protocol. `c10d_request` puts the number of items before CHECK, WAIT, MULTI_GET and
// MULTI_SET.
std::string c10d_request(c10d::Code code, const std::vector<Bytes>& strings = {});
std::string c10d_validate();
std::string c10d_ping(uint32_t nonce);
std::string c10d_add(Bytes key, int64_t amount);
std::string c10d_barrier(Bytes key, int64_t world_size);
std::string c10d_bytes(Bytes value);

// "SET(key, value)", "ADD(key; 5)"
std::string shown(const c10d::Request& request);

// The native protocol.
std::string native_frame(native::Operation operation, uint64_t id, Bytes body = {},
                         uint16_t channel = 0);
std::string native_greeting();  // preamble and HELLO, with id 0
std::string native_set(uint64_t id, Bytes key, Bytes value);
std::string native_get(uint64_t id, Bytes key, uint32_t timeout_ms);
std::string native_cancel(uint64_t id, uint64_t target);

// A client made of a socket. It fails the test when the server hangs up unasked or keeps silent.
class Peer {
 public:
  explicit Peer(uint16_t port);

  void send(Bytes bytes);
  // False when the server has hung up.
  bool try_send(Bytes bytes);
  // How much went out before the server took nothing for that long.
  size_t send_until_stuck(Bytes bytes, Duration patience);
  std::string receive(size_t count);
  // Everything up to the end of the stream, which has to come.
  std::string receive_to_end();
  // What is there, without waiting.
  std::string receive_available();

  void end_sending();
  // The same, whether or not the server is still there.
  void end_sending_if_open();
  void close() { fd_.reset(); }
  // Hangs up as a killed process with unread bytes does.
  void reset_connection();

 private:
  UniqueFd fd_;
};

class C10dPeer : public Peer {
 public:
  explicit C10dPeer(uint16_t port) : Peer(port) { send(c10d_validate()); }

  uint8_t receive_u8() { return static_cast<uint8_t>(receive(1)[0]); }
  int64_t receive_i64();
  std::string receive_bytes();
  // A round trip: everything sent before it has been handled.
  void ping(uint32_t nonce = 4711);
};

class NativePeer : public Peer {
 public:
  struct Answer {
    native::Operation operation{};
    ErrorCode status{};
    uint64_t id = 0;
    std::string body;

    std::string message() const;  // of an error answer
  };

  explicit NativePeer(uint16_t port);

  Answer receive_answer();
  Answer call(native::Operation operation, Bytes body = {});
  void ping();
  const std::string& hello() const { return hello_; }

 private:
  std::string hello_;
  uint64_t last_id_ = 1'000'000;
};

// The newest record of the log that contains `part`, or empty.
std::string logged(const std::string& part);

}  // namespace rdzv::test
