// A store server: one thread with an event loop, a table, and the connections. The owner's thread
// starts and stops it; everything else happens on the loop's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "net/unix_socket.h"
#include "server/limits.h"
#include "server/report.h"
#include "server/run_report.h"
#include "server/security.h"

namespace rdzv {

struct Listener;

class Server {
 public:
  // Binds the host it is given and nothing else ("0.0.0.0" and "::" mean every interface); port 0
  // picks a free port. Returns when the port is open. Throws kAddressInUse, kInvalidArgument,
  // kConnection; kRefused: check_closed(). "unix:///path" is a Unix socket. `of_one_job`: it ends with the job that uses it; clients are told.
  // `security`: what it asks of its clients; by default nothing.
  Server(const std::string& host, uint16_t port, const ServerLimits& limits = {},
         bool of_one_job = false, const ServerSecurity& security = {});
  // Serves on a socket that is bound, or listens already, and belongs to the server from now on.
  // `host` is for messages. Throws kInvalidArgument when it is no such socket.
  Server(const std::string& host, UniqueFd listening, const ServerLimits& limits = {},
         bool of_one_job = false, const ServerSecurity& security = {});
  // Closes all connections and ends the thread. In a forked child, which has no such thread, it
  // only lets go.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  // Made on the loop's thread, while nobody is served: it copies what has happened.
  // `after`: the serial of the last event that is known; none: without events. Throws kClosed in a
  // forked child.
  ServerReport report(std::optional<uint64_t> after);
  // Likewise; see run_report.h.
  std::optional<RunReport> report_of_run(const RunQuestion& question);
  std::vector<native::HostState> host_states(const std::string& space,
                                             const std::vector<std::string>& addresses);
  std::optional<std::string> value(const std::string& space, const std::string& key);

 private:
  class Impl;

  Server(const std::string& host, std::vector<Listener> listeners, const ServerLimits& limits,
         bool of_one_job, const ServerSecurity& security);

  // Of the loop's thread. Throws kClosed in a forked child.
  template <typename Look>
  auto ask(Look look);

  std::string host_;
  uint16_t port_;
  std::unique_ptr<Impl> impl_;
  int64_t owner_pid_;
  SocketFile file_;  // goes first: once nobody listens there, the place may be another server's
};

}  // namespace rdzv
