#include "client/connector.h"

#include <unistd.h>

#include <cerrno>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "base/text.h"
#include "base/version.h"
#include "net/address.h"
#include "net/socket.h"

namespace rdzv {
namespace {

// One address gets this long before the next is tried, so that one dead address cannot eat the
// budget.
constexpr Duration kAttemptTimeout = std::chrono::seconds(5);
constexpr Duration kFirstPause = std::chrono::milliseconds(20);
constexpr Duration kLongestPause = std::chrono::seconds(1);
// A peer that accepts and hangs up this often in a row is not starting up: it is something else.
constexpr int kHangUpsMax = 5;

void pause(Duration length, const Deadline& deadline, const std::atomic<bool>& cancelled) {
  Deadline end = Deadline::after(std::min(length, deadline.left()));
  while (!end.passed() && !cancelled) {
    std::this_thread::sleep_for(std::min(end.left(), kInterruptSlice));
    throw_if_interrupted();
  }
}

[[noreturn]] void throw_no_store(const std::string& endpoint, const std::string& seen) {
  throw Error(ErrorCode::kProtocol, "the peer at " + endpoint + " is no rendezvous store: " + seen +
                                        "; look at which program listens on that port");
}

// The handshake on a fresh connection. No value: the peer closed it. Throws kTimeout, kProtocol.
class Handshake {
 public:
  Handshake(int fd, const std::string& endpoint, const std::atomic<bool>& cancelled)
      : fd_(fd), endpoint_(endpoint), cancelled_(cancelled) {}

  std::optional<Greeted> run(const native::Id128& session, const Deadline& deadline) {
    if (!send(session, deadline)) return std::nullopt;
    std::string in;
    for (;;) {
      native::Frame frame;
      if (in.size() >= native::kHeaderBytes) {
        check_begin(in);
        if (native::next_frame(in, frame) == native::Progress::kFrame) return accept(frame);
      }
      if (!receive(in, deadline)) return std::nullopt;
    }
  }

 private:
  bool send(const native::Id128& session, const Deadline& deadline) {
    std::string client =
        std::string("rendezvous ") + kVersion + " pid " + std::to_string(::getpid());
    native::HelloRequest hello;
    hello.session = session;
    hello.client = client;
    std::string out;
    native::put_preamble(out);
    native::Header header;
    header.operation = static_cast<uint8_t>(native::Operation::kHello);
    size_t begin = native::begin_frame(out, header);
    native::put_hello(out, hello);
    native::end_frame(out, begin);
    for (size_t sent = 0; sent < out.size();) {
      long count = send_some(fd_, Bytes(out).substr(sent));
      if (count == kBroken) return false;
      if (count > 0) sent += static_cast<size_t>(count);
      if (count == kWouldBlock) wait(false, deadline);
    }
    return true;
  }

  bool receive(std::string& in, const Deadline& deadline) {
    char buffer[4096];
    long count = receive_some(fd_, buffer, sizeof(buffer));
    if (count == kBroken) {
      if (!in.empty())
        throw_no_store(endpoint_,
                       "it answered " + quoted(Bytes(in).substr(0, 32)) + " and hung up");
      return false;
    }
    if (count == kWouldBlock) {
      wait(true, deadline);
    } else {
      in.append(buffer, static_cast<size_t>(count));
    }
    return true;
  }

  void wait(bool read, const Deadline& deadline) {
    wait_ready(fd_, read, !read, std::min(deadline.left(), kInterruptSlice));
    throw_if_interrupted();
    if (deadline.passed() || cancelled_) {
      throw Error(ErrorCode::kTimeout, "the peer at " + endpoint_ +
                                           " accepted the connection but did not answer within " +
                                           seconds_text(deadline.timeout()) +
                                           "; it is stopped, overloaded, or no rendezvous store");
    }
  }

  // A foreign protocol shows in the first bytes, before a whole frame could be there.
  void check_begin(const std::string& in) {
    native::Header header;
    ByteReader reader(in);
    header.body_bytes = reader.u32();
    header.operation = reader.u8();
    constexpr uint32_t kHelloBytesMax = 64 * 1024;
    if (header.operation == (static_cast<uint8_t>(native::Operation::kHello) | native::kReplyBit) &&
        header.body_bytes <= kHelloBytesMax) {
      return;
    }
    throw_no_store(endpoint_, "it answered " + quoted(Bytes(in).substr(0, 32)));
  }

  Greeted accept(const native::Frame& frame) {
    if (frame.header.status != 0) {
      ByteReader reader(frame.body);
      Bytes message = native::take_string(reader, frame.body.size());
      throw Error(ErrorCode::kUnsupported,
                  "the server at " + endpoint_ + " refused: " + std::string(message));
    }
    native::HelloReply hello;
    if (!native::take_hello_reply(frame.body, hello))
      throw_no_store(endpoint_, "its HELLO cannot be read");
    return {UniqueFd(), hello.instance, std::string(hello.observed_address)};
  }

  int fd_;
  const std::string& endpoint_;
  const std::atomic<bool>& cancelled_;
};

class Attempts {
 public:
  Attempts(const std::string& host, uint16_t port, const Deadline& deadline,
           const std::atomic<bool>& cancelled)
      : host_(host),
        port_(port),
        deadline_(deadline),
        cancelled_(cancelled),
        endpoint_(format_endpoint(host, port)) {}

  Greeted run(const native::Id128& session) {
    Duration pause_length = kFirstPause;
    do {
      if (std::optional<Greeted> greeted = one_pass(session)) return std::move(*greeted);
      if (hang_ups_ >= kHangUpsMax) {
        throw_no_store(endpoint_, "it accepts connections and closes them without an answer");
      }
      pause(Duration(static_cast<int64_t>(static_cast<double>(pause_length.count()) * jitter())),
            deadline_, cancelled_);
      pause_length = std::min(2 * pause_length, kLongestPause);
    } while (!deadline_.passed() && !cancelled_);
    throw_failed();
  }

 private:
  // The name is looked up again on every pass: a pod's address may appear only after the client has
  // started.
  std::optional<Greeted> one_pass(const native::Id128& session) {
    std::vector<SocketAddress> addresses;
    try {
      addresses = resolve(host_, port_, deadline_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kConnection && error.code() != ErrorCode::kTimeout) throw;
      ++attempts_;
      last_error_ = error.message();
      return std::nullopt;
    }
    for (const SocketAddress& address : addresses) {
      ++attempts_;
      int error = 0;
      UniqueFd fd = connect_to(address, std::min(deadline_.left(), kAttemptTimeout), error);
      if (!fd) {
        last_error_ = address.to_string() + ": " + errno_text(error);
        continue;
      }
      std::optional<Greeted> greeted =
          Handshake(fd.get(), endpoint_, cancelled_).run(session, deadline_);
      if (!greeted) {
        ++hang_ups_;
        last_error_ = address.to_string() + ": it closed the connection without an answer";
        continue;
      }
      greeted->fd = std::move(fd);
      return greeted;
    }
    return std::nullopt;
  }

  [[noreturn]] void throw_failed() {
    throw Error(ErrorCode::kConnection,
                "no store could be reached at " + endpoint_ + " within " +
                    seconds_text(deadline_.timeout()) + " (" + std::to_string(attempts_) +
                    " attempts); last: " + last_error_ +
                    "; check that the server runs, that the host and port are right, and that no "
                    "firewall is between");
  }

  const std::string& host_;
  uint16_t port_;
  const Deadline& deadline_;
  const std::atomic<bool>& cancelled_;
  std::string endpoint_;
  std::string last_error_ = "nothing was tried";
  int attempts_ = 0;
  int hang_ups_ = 0;
};

}  // namespace

Greeted connect_and_greet(const std::string& host, uint16_t port, const native::Id128& session,
                          const Deadline& deadline, const std::atomic<bool>& cancelled) {
  return Attempts(host, port, deadline, cancelled).run(session);
}

}  // namespace rdzv
