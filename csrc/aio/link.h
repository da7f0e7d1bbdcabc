// One connection of asyncio's client: a ClientCore, the number of the socket that the event loop
// owns, and the requests that fly on it. Knows neither Python nor an event loop; all of it runs on
// the loop's thread and never blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "client/core.h"
#include "client/line_rules.h"
#include "client/native_operations.h"
#include "client/session.h"
#include "client/signs_of_life.h"
#include "tls/session.h"

namespace rdzv::aio {

inline int64_t now_ns() {
  return now().time_since_epoch().count();
}
inline constexpr int64_t kNeverNs = INT64_MAX;

class Link {
 public:
  enum Sent { kAll, kMore, kNoMore };

  // Of a connection that somebody else has greeted, by TLS if it is `secured`; `heard` is what the
  // server has said.
  Link(const ClientSession& session, Bytes heard, int fd, std::unique_ptr<tls::Session> secured);

  ClientCore& core() { return core_; }
  // The owners of the requests that are over, which their owner empties.
  std::vector<void*>& over() { return over_; }
  bool is_open() const { return core_.state() == ClientCore::State::kOpen; }
  const std::string& broken_text() const { return core_.broken().why; }

  void receive(const char* bytes, size_t count);
  // Takes what has come by now, for who could not look: at most so much that others have their turn.
  void receive_what_is_there();
  // Sends what there is. kMore: the socket takes no more now, and chunk() is what is next. kNoMore:
  // it never will, which the core knows.
  Sent flush();
  // The next bytes, for somebody else to send all of.
  Bytes chunk();
  void on_chunk_taken(size_t count);
  void end_sending(int error);
  // `error`: an errno; 0: the server closed the connection.
  void on_lost(int error);
  void break_off(const std::string& why) { core_.break_off(why); }
  void probe() { core_.probe(); }

  int64_t next_ns() const { return core_.next().time_since_epoch().count(); }
  // Gives up what is out of time. True: the connection is silent.
  bool run_due();
  bool alive_since(int64_t instant_ns) { return seen_since(Instant(Duration(instant_ns))); }
  size_t unsent_bytes() const {
    return core_.unsent_bytes() + (secured_ == nullptr ? 0 : secured_->to_send().size());
  }

 private:
  friend class Flight;

  bool seen_since(Instant instant);
  Bytes plain_chunk();

  ClientCore core_;
  const int fd_;
  std::unique_ptr<tls::Session> secured_;  // none: plain bytes
  std::string plain_;                      // what it said last
  SignsOfLife signs_;
  std::string gathered_;
  std::vector<void*> over_;
};

// A request of a store on its way, over one connection after another.
class Flight final : private ClientCore::Call {
 public:
  explicit Flight(NativeOperation asked);
  ~Flight() override { give_up(); }

  // False: it is over already. `owner`: what Link::over() is told.
  bool take_off(const std::shared_ptr<Link>& link, void* owner);
  // Nobody waits for it any more: the server is told to forget it.
  void give_up();
  // It did not take off in time.
  void miss();

  // Its body, which may be large, is not needed for now; and is there again, before it takes off.
  void drop_body() { std::string().swap(asked_.request.body); }
  void restore_body(NativeOperation again) { asked_.request.body = std::move(again.request.body); }

  bool is_answered() const { return NativeRequest::is_answer(reply); }
  bool is_suspicious();
  // As NativeRequest says it; and that a queue is empty.
  void throw_unless_repeatable(const std::string& store, const std::string& broken);
  // Once.
  NativeResult result(const std::string& store);

  double seconds_to_connect() const { return to_seconds(times_.reconnect.left()); }
  double seconds_to_answer() const { return to_seconds(times_.patient.left()); }
  double seconds_since_take_off() const { return to_seconds(now() - began_); }

 private:
  void on_over() override;

  NativeOperation asked_;
  CallTimes times_;
  Instant began_{};
  std::shared_ptr<Link> link_;  // while it is in flight, and until its answer is taken
  void* owner_ = nullptr;
};

// A client's identity over all its connections, for who keeps it in Python.
class Session : public ClientSession {
 public:
  explicit Session(const std::string& id);
};

inline void enter(Session& session, Link& link) {
  session.enter(link.core());
}
inline void leave(Session& session, Link& link) {
  session.leave(link.core());
}
inline uint64_t restarts(const Session& session) {
  return session.restarts();
}
inline std::string observed_address(const Session& session) {
  return session.observed_address();
}

inline bool is_over(const Calm& calm) {
  return calm.is_over(now());
}
inline void begin(Calm& calm, bool was_alive) {
  calm.begin(now(), was_alive);
}

// `secured`: a tls::Session, which the link owns from then on; null: none.
inline std::shared_ptr<Link> make_link(const Session& session, Bytes heard, int fd, void* secured) {
  return std::make_shared<Link>(session, heard, fd,
                                std::unique_ptr<tls::Session>(static_cast<tls::Session*>(secured)));
}
inline std::unique_ptr<Flight> make_flight(NativeOperation&& operation) {
  return std::make_unique<Flight>(std::move(operation));
}

}  // namespace rdzv::aio
