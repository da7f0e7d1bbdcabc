#include "client/greeting.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "base/version.h"
#include "net/socket.h"
#include "wire/c10d.h"
#include "wire/messages.h"

namespace rdzv {
namespace {

constexpr size_t kShownBytesMax = 32;

std::string shown(Bytes in) {
  return quoted(in.substr(0, kShownBytesMax));
}

std::string native_hello(const native::Id128& session) {
  std::string client = std::string("rendezvous ") + kVersion + " pid " + std::to_string(::getpid());
  native::HelloRequest hello;
  hello.session = session;
  hello.client = client;
  std::string out;
  native::put_preamble(out);
  native::put_request(out, hello);
  return out;
}

// A foreign protocol shows in the first bytes, before a whole frame could be there.
void check_begin(const std::string& endpoint, const std::string& in) {
  native::Header header;
  ByteReader reader(in);
  header.body_bytes = reader.u32();
  header.operation = reader.u8();
  constexpr uint32_t kHelloBytesMax = 64 * 1024;
  if (header.operation == (static_cast<uint8_t>(native::Operation::kHello) | native::kReplyBit) &&
      header.body_bytes <= kHelloBytesMax) {
    return;
  }
  throw_no_store(endpoint, "it answered " + shown(in));
}

NativePeer accept(const std::string& endpoint, const native::Frame& frame) {
  if (frame.header.status != 0) {
    native::ErrorReply error;
    if (!native::take(frame.body, error)) error = {};
    // The server is full; everything else is about what we speak.
    bool is_full = frame.header.status == static_cast<uint8_t>(ErrorCode::kLimit);
    throw Error(is_full ? ErrorCode::kConnection : ErrorCode::kUnsupported,
                "the server at " + endpoint + " refused: " + std::string(error.message));
  }
  native::HelloReply hello;
  if (!native::take(frame.body, hello)) throw_no_store(endpoint, "its HELLO cannot be read");
  return {hello.instance, std::string(hello.observed_address)};
}

}  // namespace

void throw_silent(const std::string& endpoint, Duration waited) {
  throw Error(ErrorCode::kNoAnswer, "timeout: the peer at " + endpoint +
                                        " accepted the connection but did not answer within " +
                                        seconds_text(waited) +
                                        "; it is stopped, overloaded, or no rendezvous store");
}

void throw_no_store(const std::string& endpoint, const std::string& seen) {
  throw Error(ErrorCode::kProtocol, "the peer at " + endpoint + " is no rendezvous store: " + seen +
                                        "; look at which program listens on that port");
}

bool Greeting::send(Bytes out) {
  while (!out.empty()) {
    long count = send_some(fd_, out);
    if (count == kBroken) return false;
    if (count > 0) out.remove_prefix(static_cast<size_t>(count));
    if (count == kWouldBlock) wait(false);
  }
  return true;
}

bool Greeting::receive(std::string& in) {
  char buffer[4096];
  long count = receive_some(fd_, buffer, sizeof(buffer));
  if (count == kBroken) {
    if (!in.empty()) throw_no_store(endpoint_, "it answered " + shown(in) + " and hung up");
    return false;
  }
  if (count == kWouldBlock) {
    wait(true);
  } else {
    in.append(buffer, static_cast<size_t>(count));
  }
  return true;
}

void Greeting::wait(bool read) {
  wait_ready(fd_, read, !read, std::min(deadline_.left(), kInterruptSlice));
  throw_if_interrupted();
  if (deadline_.passed() || cancelled_()) throw_silent(endpoint_, deadline_.timeout());
}

std::optional<NativePeer> greet_native(Greeting& greeting, const native::Id128& session) {
  if (!greeting.send(native_hello(session))) return std::nullopt;
  std::string in;
  for (;;) {
    native::Frame frame;
    if (in.size() >= native::kHeaderBytes) {
      check_begin(greeting.endpoint(), in);
      if (native::next_frame(in, frame) == native::Progress::kTaken) {
        return accept(greeting.endpoint(), frame);
      }
    }
    if (!greeting.receive(in)) return std::nullopt;
  }
}

bool greet_c10d(Greeting& greeting) {
  // Nobody else answers with the same number: other programs send text, or hang up.
  const auto nonce = static_cast<uint32_t>(::getpid());
  std::string out;
  c10d::put_request(out, c10d::Code::kValidate, {}, c10d::kMagic);
  c10d::put_request(out, c10d::Code::kPing, {}, nonce);
  std::string echo;
  c10d::put_u32(echo, nonce);
  if (!greeting.send(out)) return false;
  std::string in;
  for (;;) {
    if (in != echo.substr(0, in.size())) {
      throw_no_store(greeting.endpoint(),
                     "it does not speak the c10d protocol; it answered " + shown(in));
    }
    if (in.size() == echo.size()) return true;
    if (!greeting.receive(in)) return false;
  }
}

}  // namespace rdzv
