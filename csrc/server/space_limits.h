// What one name space may use: as its lines in the token file say, or else as the server's limits do.
// Plain data.
#pragma once

#include <cstdint>
#include <string>

#include "server/limits.h"
#include "tls/quota.h"

namespace rdzv {

struct SpaceLimit {
  uint64_t most = 0;
  const char* name = nullptr;
  bool is_own = false;  // by the token file

  // Which it is, for messages.
  std::string text() const {
    return is_own ? "its quota " + std::string(name) + " is " + std::to_string(most) +
                        ", by the server's token file"
                  : "the server's limit " + std::string(name) + " is " + std::to_string(most);
  }
};

struct SpaceLimits {
  SpaceLimits(const ServerLimits& server, const tls::Quota& own)
      : keys(limit("keys", own.keys, "keys_per_space", server.keys_per_space)),
        stored_bytes(
            limit("bytes", own.bytes, "stored_bytes_per_space", server.stored_bytes_per_space)),
        connections(limit("connections", own.connections, "connections_per_space",
                          server.connections_per_space)),
        runs(limit("runs", own.runs, "runs_per_space", server.runs_per_space)),
        run_bytes(
            limit("run_bytes", own.run_bytes, "run_bytes_per_space", server.run_bytes_per_space)),
        waits(limit("waiters", own.waiters, "waits_per_space", server.waits_per_space)) {}

  // The server's, with what holds here.
  ServerLimits in(ServerLimits server) const {
    server.keys_per_space = keys.most;
    server.stored_bytes_per_space = stored_bytes.most;
    server.connections_per_space = connections.most;
    server.runs_per_space = runs.most;
    server.run_bytes_per_space = run_bytes.most;
    server.waits_per_space = waits.most;
    return server;
  }

  SpaceLimit keys;
  SpaceLimit stored_bytes;
  SpaceLimit connections;
  SpaceLimit runs;
  SpaceLimit run_bytes;
  SpaceLimit waits;

 private:
  static SpaceLimit limit(const char* own_name, std::optional<uint64_t> own, const char* name,
                          uint64_t most) {
    return own ? SpaceLimit{*own, own_name, true} : SpaceLimit{most, name, false};
  }
};

}  // namespace rdzv
