// A client's identity over all its connections, and what it knows of its server. Reads no clock and
// has no lock: its owner's protects it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "client/core.h"
#include "wire/native.h"

namespace rdzv {

class ClientSession {
 public:
  // `id` is random, so that no two clients have the same.
  explicit ClientSession(const native::Id128& id) : id_(id) {}

  const native::Id128& id() const { return id_; }
  // How often the server was another one than before, without what that one knew.
  uint64_t restarts() const { return restarts_; }
  const std::string& observed_address() const { return observed_address_; }
  bool is_of_one_job() const { return is_of_one_job_; }

  // The session goes on with this connection, which was greeted, and no longer with that one.
  void enter(ClientCore& core) {
    core.continue_after(last_id_);
    observed_address_ = core.peer().observed_address;
    is_of_one_job_ = core.peer().is_of_one_job;
    if (instance_.has_value() && *instance_ != core.peer().instance) ++restarts_;
    instance_ = core.peer().instance;
  }
  void leave(const ClientCore& core) { last_id_ = std::max(last_id_, core.last_id()); }

 private:
  native::Id128 id_;
  std::optional<native::Id128> instance_;
  uint64_t restarts_ = 0;
  uint64_t last_id_ = 0;
  std::string observed_address_;
  bool is_of_one_job_ = false;
};

}  // namespace rdzv
