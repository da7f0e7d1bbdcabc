#include "server/context.h"

#include "tls/token.h"
#include "wire/limits.h"

namespace rdzv {
namespace {

std::string log_name(const std::string& server, Bytes space) {
  return space == tls::kDefaultSpace ? server : server + ", name space " + std::string(space);
}

}  // namespace

ServerContext::ServerContext(ServerCommons& of, Bytes space_name, size_t keys_at_first,
                             uint64_t behind)
    : commons(of),
      space(space_name),
      name(log_name(of.name, space_name)),
      limits(of.limits),
      instance(of.instance),
      clock(of.clock),
      memory(of.memory),
      budget(of.budget),
      chores(of.chores),
      strings(of.strings),
      connections(of.connections),
      own_limits(of.spaces.limits_of(space_name)),
      warnings(of.records.timelines),
      // So that what is known from another server's life is none of this one's.
      run_version(
          (load_little_endian<uint64_t>(reinterpret_cast<const char*>(instance.data())) >> 1) +
          behind),
      state(of.seed, keys_at_first, behind),
      hosts(of.seed),
      stored_(&of.memory.stored),
      keys_(&of.memory.counts.keys),
      waits_(&of.memory.counts.waits) {
  state.view().begin_feeds_behind(run_version);
  state.view().count_feeds_in(of.memory.feeds, of.limits.watch_bytes);
}

ServerContext::~ServerContext() = default;

void ServerContext::log(LogLevel level, const std::string& text) {
  if (level >= LogLevel::kWarning)
    warnings.add({.at = clock.now, .kind = native::EventKind::kWarning, .text = text});
  commons.write(level, name + ": " + text);
}

void ServerContext::trim() {
  // The more name spaces there are, the less each keeps.
  const size_t bytes_max = limits::kComposedBytesMax / commons.spaces.size();
  composed.answers.trim(bytes_max);
  composed.exchanges.trim(bytes_max);
}

bool ServerContext::is_unused() const {
  return users == 0 && state.table().has_nothing() && runs.size() == 0;
}

}  // namespace rdzv
