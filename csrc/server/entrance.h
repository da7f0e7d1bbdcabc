// Where connections come in: the listeners of a server, and what it does when the system gives it
// no descriptor for a newcomer. Runs on the loop thread.
//
// What accept4 may answer, and what is done then:
//   EAGAIN                                 nobody is waiting
//   ECONNABORTED, EPROTO, ENETDOWN, ...    this one is gone: the next
//   EMFILE                                 the soft limit of open files is raised to the hard one,
//                                          if that is higher; otherwise as ENFILE
//   ENFILE                                 the spare descriptor is given up to take the newcomer in
//                                          and refuse it in words
//   ENOBUFS, ENOMEM, EPERM, EACCES, ...    accepting pauses: the listener would stay readable, and
//                                          the loop would spin
// The log says once when newcomers begin to be refused, and once when that is over.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/event_loop.h"
#include "net/listen.h"
#include "net/process_fd.h"

namespace rdzv {

class Entrance {
 public:
  using OnAccepted = std::function<void(UniqueFd fd, const SocketAddress& peer)>;
  // Why the server does not take this one for now; empty: it does.
  using WhyFull = std::function<std::string(const SocketAddress& peer)>;

  // `name` is for log lines.
  Entrance(EventLoop& loop, const std::string& name, std::vector<Listener> listeners,
           OnAccepted on_accepted, WhyFull why_full);
  ~Entrance();

 private:
  class Door;     // one listener
  class Refusal;  // one newcomer that is refused as soon as it says what it speaks

  void accept_all(Door& door);
  bool make_room(Door& door, int error);
  void refuse(UniqueFd fd, const SocketAddress& peer, const std::string& why);
  void end_refusal();
  void pause();
  void open_doors();
  void close_doors();
  void begin_shortage(int error);
  void begin_shortage(const std::string& what);
  void arm_shortage_timer();
  void end_shortage();

  EventLoop& loop_;
  const std::string& name_;
  OnAccepted on_accepted_;
  WhyFull why_full_;
  std::vector<std::unique_ptr<Door>> doors_;
  ProcessFd spare_;
  std::unique_ptr<Refusal> refusal_;
  bool is_open_ = false;

  // The shortage: newcomers are refused.
  bool is_short_ = false;
  Instant short_since_{};
  Instant refused_at_{};
  uint64_t refused_ = 0;
};

}  // namespace rdzv
