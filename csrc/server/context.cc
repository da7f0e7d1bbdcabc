#include "server/context.h"

namespace rdzv {

ServerContext::ServerContext(const ServerLimits& server_limits, std::string server_name,
                             HashSeed seed, const native::Id128& server_instance, bool of_one_job)
    : limits(server_limits),
      instance(server_instance),
      is_of_one_job(of_one_job),
      name(std::move(server_name)),
      // So that what is known from another server's life is none of this one's.
      run_version(load_little_endian<uint64_t>(reinterpret_cast<const char*>(instance.data())) >>
                  1),
      state(seed) {
  state.view().begin_feeds_behind(run_version);
}

void ServerContext::log(LogLevel level, const std::string& text) {
  if (level >= LogLevel::kWarning)
    warnings.add({.at = clock.now, .kind = native::EventKind::kWarning, .text = text});
  rdzv::log(level, name + ": " + text);
}

bool ServerContext::end_turn() {
  upkeep.end_turn();
  connections.go_on();
  // Who has not had a slice yet does not wait long for those who have had theirs.
  bool more = chores.work(connections.unserved.empty() ? Budget::kChores : Budget::kFirstSlice);
  connections.first_slices = 0;
  more = connections.flush_some() || more;
  connections.forget_closed();
  composed.answers.trim();
  composed.exchanges.trim();
  return more || upkeep.is_overdue() || !connections.put_off.empty() ||
         !connections.unserved.empty();
}

}  // namespace rdzv
