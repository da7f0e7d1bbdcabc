#include "server/entrance.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "net/open_files.h"
#include "net/socket.h"
#include "server/refusal.h"
#include "tls/session.h"

namespace rdzv {
namespace {

// In batches, so that connected clients are served meanwhile; the listener stays readable for the
// next turn.
constexpr int kBatch = 1024;
constexpr int kRefusalsATurn = 64;
// So many newcomers in a row that are gone are no newcomers.
constexpr int kGoneMax = 64;
constexpr Duration kPause = std::chrono::milliseconds(200);
// A refused newcomer has that long to say which protocol it speaks.
constexpr Duration kRefusalMax = std::chrono::seconds(1);
// A shortage is over when nobody was refused for so long.
constexpr Duration kQuiet = std::chrono::seconds(10);

UniqueFd open_spare() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool is_out_of_descriptors(int error) {
  return error == EMFILE || error == ENFILE;
}

// Linux reports with accept what has happened to a connection since it was made.
bool is_gone(int error) {
  switch (error) {
    case ECONNABORTED:
    case ECONNRESET:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

}  // namespace

class Entrance::Door final : public EventHandler {
 public:
  Door(Entrance& entrance, UniqueFd fd) : entrance_(entrance), fd_(std::move(fd)) {}
  int fd() const { return fd_.get(); }
  void on_ready(bool, bool) override { entrance_.accept_all(*this); }
  void on_refused(int error) override {
    entrance_.begin_shortage(error);
    entrance_.pause();
  }

 private:
  Entrance& entrance_;
  ProcessFd fd_;
};

// In the native protocol, an answer to HELLO says why. Who speaks TLS gets an alert.
class Entrance::Refusal final : public EventHandler {
 public:
  Refusal(Entrance& entrance, UniqueFd fd, std::string why)
      : entrance_(entrance), fd_(std::move(fd)), why_(std::move(why)) {
    give_up_ = entrance_.loop_.call_at(now() + kRefusalMax, [this] {
      give_up_.reset();
      entrance_.end_refusal();
    });
    entrance_.loop_.watch(fd_.get(), Interest::kRead, *this);
  }
  ~Refusal() override {
    if (give_up_) entrance_.loop_.cancel(*give_up_);
    entrance_.loop_.unwatch(*this);
  }

  // False while the newcomer has said nothing.
  bool answer() {
    char said[4096];
    long count = receive_some(fd_.get(), said, sizeof(said));
    if (count == kWouldBlock) return false;
    const char first = count > 0 ? said[0] : '\0';
    // What is left unread would make the kernel take the answer back.
    while (count == static_cast<long>(sizeof(said)))
      count = receive_some(fd_.get(), said, sizeof(said));
    if (first == native::kMagic[0]) {
      send_some(fd_.get(), refusal_frame(ErrorCode::kLimit, why_));
    } else if (first == tls::kHandshakeByte) {
      send_some(fd_.get(), tls::full_alert());
    }
    ::shutdown(fd_.get(), SHUT_WR);
    return true;
  }

  void on_ready(bool, bool) override {
    if (answer()) entrance_.end_refusal();
  }
  void on_refused(int) override { entrance_.end_refusal(); }

 private:
  Entrance& entrance_;
  ProcessFd fd_;
  std::string why_;
  std::optional<EventLoop::TimerId> give_up_;
};

Entrance::Entrance(EventLoop& loop, const std::string& name, std::vector<Listener> listeners,
                   OnAccepted on_accepted, WhyFull why_full)
    : loop_(loop),
      name_(name),
      on_accepted_(std::move(on_accepted)),
      why_full_(std::move(why_full)),
      spare_(open_spare()) {
  for (Listener& listener : listeners) {
    doors_.push_back(std::make_unique<Door>(*this, std::move(listener.fd)));
    prepare_listener(doors_.back()->fd());
  }
  open_doors();
  const OpenFiles limit = open_files_limit();
  log(LogLevel::kInfo, name_ + ": room for " + std::to_string(open_files_left()) +
                           " connections (limit of open files: " + std::to_string(limit.soft) +
                           (limit.hard > limit.soft ? ", raised to " + std::to_string(limit.hard) +
                                                          " when it is reached"
                                                    : "") +
                           ")");
}

Entrance::~Entrance() = default;

void Entrance::accept_all(Door& door) {
  int gone = 0;
  for (int i = 0; i < kBatch && is_open_; ++i) {
    SocketAddress peer;
    UniqueFd fd = accept_from(door.fd(), peer);
    if (fd) {
      gone = 0;
      if (const std::string why = why_full_(peer); !why.empty()) {
        begin_shortage(why + "; new connections are refused until others close");
        refuse(std::move(fd), peer, name_ + ": " + why);
        i += kBatch / kRefusalsATurn;
      } else {
        on_accepted_(std::move(fd), peer);
      }
      continue;
    }
    const int error = errno;
    if (error == EAGAIN || error == EWOULDBLOCK) return;
    if (is_gone(error) && ++gone < kGoneMax) continue;
    if (is_out_of_descriptors(error) && make_room(door, error)) {
      i += kBatch / kRefusalsATurn;
      continue;
    }
    if (!is_open_) return;
    begin_shortage(error);
    pause();
  }
}

// True: the next newcomer can be looked at.
bool Entrance::make_room(Door& door, int error) {
  if (error == EMFILE && raise_open_files_limit()) {
    const OpenFiles limit = open_files_limit();
    log(LogLevel::kWarning, name_ +
                                ": all file descriptors are in use: raised this process's limit of "
                                "open files to " +
                                std::to_string(limit.soft) + ", its hard limit");
    return true;
  }
  begin_shortage(error);
  if (!spare_) spare_ = ProcessFd(open_spare());
  if (!spare_) return false;
  spare_.reset();
  SocketAddress peer;
  UniqueFd fd = accept_from(door.fd(), peer);
  if (!fd) {
    const int second_error = errno;
    spare_ = ProcessFd(open_spare());
    return second_error == EAGAIN || second_error == EWOULDBLOCK;
  }
  refuse(std::move(fd), peer,
         name_ +
             " has no file descriptor left for another connection; raise its limit of open files "
             "(ulimit -n)");
  return is_open_;
}

void Entrance::refuse(UniqueFd fd, const SocketAddress& peer, const std::string& why) {
  ++refused_;
  refused_at_ = now();
  log(LogLevel::kDebug, name_ + ": refused the connection from " + peer.to_string());
  refusal_ = std::make_unique<Refusal>(*this, std::move(fd), why);
  if (refusal_->answer()) {
    refusal_.reset();
    spare_ = ProcessFd(open_spare());
  } else {
    close_doors();  // until it has spoken: there is one spare descriptor
  }
}

void Entrance::end_refusal() {
  loop_.retire(std::move(refusal_));
  loop_.post([this] {
    // By now it is closed.
    if (!spare_) spare_ = ProcessFd(open_spare());
    open_doors();
  });
}

void Entrance::pause() {
  if (!is_open_) return;
  close_doors();
  loop_.call_at(now() + kPause, [this] { open_doors(); });
}

// Urgent, because the kernel drops who finds the accept queue full, and a client that is dropped
// tries again after a second.
void Entrance::open_doors() {
  if (std::exchange(is_open_, true)) return;
  for (auto& door : doors_) loop_.watch_urgent(door->fd(), Interest::kRead, *door);
}

void Entrance::close_doors() {
  is_open_ = false;
  for (auto& door : doors_) loop_.unwatch(*door);
}

void Entrance::begin_shortage(int error) {
  const OpenFiles limit = open_files_limit();
  const std::string what = is_out_of_descriptors(error)
                               ? "new connections are refused until others close (soft limit " +
                                     std::to_string(limit.soft) + ", hard limit " +
                                     std::to_string(limit.hard) + ")"
                               : "new connections wait";
  begin_shortage(refusal_text(error) + "; " + what);
}

void Entrance::begin_shortage(const std::string& what) {
  refused_at_ = now();
  if (std::exchange(is_short_, true)) return;
  short_since_ = refused_at_;
  refused_ = 0;
  log(LogLevel::kError, name_ + ": cannot accept connections: " + what);
  arm_shortage_timer();
}

void Entrance::arm_shortage_timer() {
  loop_.call_at(refused_at_ + kQuiet, [this] {
    if (now() < refused_at_ + kQuiet) {
      arm_shortage_timer();
    } else {
      end_shortage();
    }
  });
}

void Entrance::end_shortage() {
  is_short_ = false;
  if (!spare_) spare_ = ProcessFd(open_spare());
  log(LogLevel::kInfo, name_ + ": accepts connections again after " +
                           seconds_text(now() - short_since_) + "; " + std::to_string(refused_) +
                           " were refused");
}

}  // namespace rdzv
