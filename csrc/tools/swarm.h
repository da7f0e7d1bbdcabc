// Many connections driven by one epoll thread: dials them (a bounded number at once), says hello,
// sends what a scenario asks and hands it the answers. Knows the protocols only through Protocol,
// and scenarios only through Player. One thread.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "tls/credentials.h"
#include "tools/options.h"
#include "tools/part.h"
#include "tools/protocol.h"

namespace rdzv::tools {

struct Asked {
  Ask ask = Ask::kHello;
  Instant sent{};
};

// What was asked and is not answered yet, oldest first.
class AskedRing {
 public:
  bool empty() const { return head_ == tail_; }
  const Asked& front() const { return ring_[head_ & (ring_.size() - 1)]; }
  void pop() { ++head_; }
  // Removes the oldest one of that kind; false if there is none.
  bool take(Ask ask, Asked& taken);
  void push(const Asked& asked);
  void clear() { head_ = tail_; }

 private:
  std::vector<Asked> ring_ = std::vector<Asked>(2);  // a power of two
  size_t head_ = 0;
  size_t tail_ = 0;
};

struct Connection {
  UniqueFd fd;
  uint32_t index = 0;
  bool wants_write = false;
  bool is_dialing = false;
  uint64_t next_id = 1;
  Instant dialed{};
  AskedRing asked;
  std::string out;
  std::string in;                        // the beginning of an answer
  size_t skip = 0;                       // bytes to come that nobody reads
  std::unique_ptr<tls::Session> secure;  // none: plain bytes
};

// A scenario, as the swarm sees it. May call the swarm's methods from anywhere.
class Player {
 public:
  virtual ~Player() = default;
  // The hello is answered.
  virtual void connected(Connection& connection) = 0;
  virtual void answered(Connection& connection, const Asked& asked, const Answer& answer) = 0;
};

class Swarm {
 public:
  Swarm(const Options& options, const Part& part, Protocol& protocol, Player& player);
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;
  // Breaks its connections, so that none of them holds a port of this machine for a minute more.
  ~Swarm();

  // Dials all connections while run() runs.
  void dial_all() { dials_wanted_ = connections_.size(); }
  // Runs until `done` says so. Throws Error{kTimeout} when `deadline` passes first, kConnection
  // when too much fails.
  void run(const std::function<bool()>& done, const Deadline& deadline);
  // Runs until then, whatever happens.
  void run_for(Duration duration);

  // When the connection that is being served had its turn; begin_turn before asking out of turn.
  Instant turn_began() const { return turn_began_; }
  void begin_turn() { turn_began_ = now(); }

  // Queues a request that was made by the protocol at the end of `connection.out`, which began at
  // `begin`. It is sent at the end of the turn of the connection that is being served; otherwise
  // call flush.
  void asked(Connection& connection, Ask ask, size_t begin);
  void flush(Connection& connection);
  // Breaks a connection as a dying process does, and dials it anew.
  void redial(Connection& connection);

  std::vector<Connection>& connections() { return connections_; }
  size_t connected() const { return connected_; }
  uint64_t errors() const { return errors_; }
  uint64_t redials() const { return redials_; }
  const std::string& first_error() const { return first_error_; }
  void fail(const std::string& error);

 private:
  // For errors: what went wrong first, and what else it may be.
  std::string why() const;
  void turn(Duration timeout);
  // Throws kInvalidArgument for a host that is none.
  void prepare_dials();
  void dial_some();
  UniqueFd begin_connect(const Connection& connection);
  bool dial(Connection& connection);
  void serve(Connection& connection, uint32_t events);
  void finish_dial(Connection& connection);
  void receive(Connection& connection);
  // What it says, if it speaks TLS; false: it does not any more.
  bool decrypt(Connection& connection, Bytes& arrived);
  // Sends what TLS has ready. False: the connection is lost.
  bool flush_secure(Connection& connection);
  void take_answers(Connection& connection, Bytes arrived);
  size_t take_whole(Connection& connection, Bytes input);
  void lost(Connection& connection, const std::string& why);
  void drop(Connection& connection);
  void watch_writes(Connection& connection, bool wanted);

  const Options& options_;
  const Part& part_;
  Protocol& protocol_;
  Player& player_;
  sockaddr_in address_{};
  uint16_t source_port_ = 0;
  UniqueFd epoll_;
  std::vector<Connection> connections_;
  std::vector<char> buffer_;
  std::shared_ptr<const tls::Credentials> credentials_;
  std::string plain_;  // of what was received
  Instant turn_began_{};
  size_t dials_wanted_ = 0;
  size_t dials_begun_ = 0;
  size_t dialing_ = 0;
  size_t connected_ = 0;
  uint64_t redials_ = 0;
  uint64_t errors_ = 0;
  std::string first_error_;
};

}  // namespace rdzv::tools
