#include "client/dial.h"

#include <cerrno>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "base/text.h"
#include "net/address.h"
#include "net/socket.h"
#include "net/unix_socket.h"

namespace rdzv {
namespace {

// One address gets this long before the next is tried, so that one dead address cannot eat the
// budget.
constexpr Duration kAttemptTimeout = std::chrono::seconds(5);
constexpr Duration kFirstPause = std::chrono::milliseconds(20);
constexpr Duration kLongestPause = std::chrono::seconds(1);
// A peer that accepts and hangs up this often in a row is not starting up: it is something else.
constexpr int kHangUpsMax = 5;

// A connection whose other end takes nothing for so long is over, and is made anew.
constexpr Duration kUntakenMax = std::chrono::seconds(30);

void pause(Duration length, const Deadline& deadline, const Cancelled& cancelled) {
  Deadline end = Deadline::after(std::min(length, deadline.left()));
  while (!end.passed() && !cancelled()) {
    std::this_thread::sleep_for(std::min(end.left(), kInterruptSlice));
    throw_if_interrupted();
  }
}

class Attempts {
 public:
  Attempts(const std::string& host, uint16_t port, const Deadline& deadline,
           const Cancelled& cancelled, const Greet& greet, DialProgress& progress)
      : host_(host),
        port_(port),
        deadline_(deadline),
        cancelled_(cancelled),
        greet_(greet),
        progress_(progress),
        endpoint_(format_endpoint(host, port)) {}

  UniqueFd run() {
    Duration pause_length = kFirstPause;
    do {
      if (UniqueFd fd = one_pass()) return fd;
      if (hang_ups_ >= kHangUpsMax && !is_store_) {
        throw_no_store(endpoint_, "it accepts connections and closes them without an answer");
      }
      pause(Duration(static_cast<int64_t>(static_cast<double>(pause_length.count()) * jitter())),
            deadline_, cancelled_);
      pause_length = std::min(2 * pause_length, kLongestPause);
    } while (!deadline_.passed() && !cancelled_());
    progress_.throw_out_of_time(endpoint_, deadline_.timeout());
  }

 private:
  // Who listens there belongs to this user, or what is said there could be read by another one.
  UniqueFd one_pass_unix() {
    int error = 0;
    UniqueFd fd = connect_to_unix(unix_path(host_), error);
    if (!fd) {
      note_failure(host_ + ": " + errno_text(error));
      return fd;
    }
    if (const std::string why = why_not_same_user(fd.get()); !why.empty())
      throw Error(ErrorCode::kRefused, "no connection to " + endpoint_ + ": " + why);
    return greeted(std::move(fd), host_);
  }

  UniqueFd greeted(UniqueFd fd, const std::string& address) {
    progress_.note_connected();
    Greeting greeting(fd.get(), endpoint_, deadline_, cancelled_);
    try {
      if (greet_(greeting)) return fd;
    } catch (const Error& refused) {
      if (refused.code() != ErrorCode::kLimit) throw;
      is_store_ = true;
      progress_.note_full(refused.message());
      return UniqueFd();
    }
    ++hang_ups_;
    note_failure(address + ": it closed the connection without an answer");
    return UniqueFd();
  }

  // The name is looked up again on every pass: a pod's address may appear only after the client has
  // started.
  UniqueFd one_pass() {
    if (is_unix_host(host_)) return one_pass_unix();
    std::vector<SocketAddress> addresses;
    try {
      addresses = resolve(host_, port_, deadline_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kConnection && error.code() != ErrorCode::kNoAnswer) throw;
      note_failure(error.message());
      return UniqueFd();
    }
    for (const SocketAddress& address : addresses) {
      int error = 0;
      UniqueFd fd;
      try {
        fd = connect_to(address, std::min(deadline_.left(), kAttemptTimeout), error);
      } catch (const Error& refused) {
        // The system has no descriptor for it; others may be closed in time.
        if (refused.code() != ErrorCode::kConnection) throw;
        note_failure(refused.message());
        return UniqueFd();
      }
      if (!fd) {
        // Of a connection, this is said of our own end.
        std::string why = error == EADDRNOTAVAIL ? "this machine has no port left to connect from"
                                                 : errno_text(error);
        note_failure(address.to_string() + ": " + why);
        continue;
      }
      set_user_timeout(fd.get(), kUntakenMax);
      fd = greeted(std::move(fd), address.to_string());
      if (fd) return fd;
    }
    return UniqueFd();
  }

  void note_failure(const std::string& error) { progress_.note_failure(error, deadline_.passed()); }

  const std::string& host_;
  uint16_t port_;
  const Deadline& deadline_;
  const Cancelled& cancelled_;
  const Greet& greet_;
  DialProgress& progress_;
  std::string endpoint_;
  int hang_ups_ = 0;
  bool is_store_ = false;  // it has said that it is full
};

}  // namespace

void DialProgress::note_failure(const std::string& error, bool is_over) {
  Lock lock(mutex_);
  if (!is_greeting_) ++attempts_;
  is_greeting_ = false;
  if (last_error_.empty() || !is_over) last_error_ = error;
}

void DialProgress::note_connected() {
  Lock lock(mutex_);
  ++attempts_;
  is_greeting_ = true;
}

void DialProgress::note_full(const std::string& error) {
  Lock lock(mutex_);
  is_greeting_ = false;
  last_error_ = full_ = error;
}

bool DialProgress::has_failed() {
  Lock lock(mutex_);
  return !last_error_.empty();
}

void DialProgress::throw_out_of_time(const std::string& endpoint, Duration waited) {
  Lock lock(mutex_);
  const std::string tried =
      " within " + seconds_text(waited) + " (" + std::to_string(attempts_) + " attempts)";
  if (!full_.empty()) {
    throw Error(ErrorCode::kConnection,
                full_ + "; no room came" + tried +
                    (last_error_ == full_ ? std::string() : ", and then: " + last_error_));
  }
  if (is_greeting_) throw_silent(endpoint, waited);
  throw Error(ErrorCode::kConnection,
              "no store could be reached at " + endpoint + tried +
                  "; last: " + (last_error_.empty() ? "nothing was tried" : last_error_) +
                  "; check that the server is running, that host and port "
                  "are right, and that no firewall blocks the connection");
}

UniqueFd dial(const std::string& host, uint16_t port, const Deadline& deadline,
              const Cancelled& cancelled, const Greet& greet, DialProgress& progress) {
  return Attempts(host, port, deadline, cancelled, greet, progress).run();
}

}  // namespace rdzv
