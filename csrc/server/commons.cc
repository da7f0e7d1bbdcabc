#include "server/commons.h"

#include "server/context.h"

namespace rdzv {

ServerRecords::ServerRecords(ServerCommons& commons)
    : timelines(commons.limits.timeline_bytes), warnings(timelines), audit(commons) {}

ServerCommons::ServerCommons(const ServerLimits& server_limits, std::string server_name,
                             HashSeed hash_seed, const native::Id128& server_instance,
                             bool of_one_job)
    : limits(server_limits),
      instance(server_instance),
      is_of_one_job(of_one_job),
      name(std::move(server_name)),
      seed(hash_seed),
      spaces(*this) {}

void ServerCommons::write(LogLevel level, const std::string& line) {
  if (level >= LogLevel::kWarning)
    records.warnings.add({.at = clock.now, .kind = native::EventKind::kWarning, .text = line});
  rdzv::log(level, line);
}

bool ServerCommons::end_turn() {
  spaces.begin_end_of_turn();
  connections.go_on();
  // Who has not had a slice yet does not wait long for those who have had theirs.
  bool more = chores.work(connections.unserved.empty() ? Budget::kChores : Budget::kFirstSlice);
  connections.first_slices = 0;
  more = connections.flush_some() || more;
  connections.forget_closed();
  more = spaces.end_turn() || more;
  return more || !connections.put_off.empty() || !connections.unserved.empty();
}

}  // namespace rdzv
