// What happens to one run, told to people: as lines of the log, and as the events of its timeline.
// Belongs to its Run, which says what happened; decides nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "group/group.h"
#include "server/timeline.h"

namespace rdzv {

struct ServerContext;
class Run;

class RunRecord {
 public:
  RunRecord(ServerContext& context, const Run& run);

  const Timeline& timeline() const { return timeline_; }

  // A JOIN has made of the node what it is now.
  void on_joined(const NodeId& node, std::optional<Role> before, std::optional<Role> after,
                 uint64_t round_before);
  void on_resumed(const NodeId& node, Resumed how, uint64_t round_before);
  // Its connection broke; it may come back within the grace.
  void on_broken(const NodeId& node, Duration grace);
  // It is listed no more. `nth`: of those that go together; `why`: of a lost one.
  void on_gone(const NodeId& node, native::Departure how, Bytes why = {}, size_t nth = 1);
  void on_timed_out(const NodeId& node, Duration waited, const std::string& who);
  void on_refused(const std::string& why);
  void on_closed(Bytes reason);
  // After a change that began or ended a round, or ended the run.
  void on_round(uint64_t round_before);
  void on_failed();
  // After every change.
  void settled();

 private:
  void add(native::EventKind kind, Event event = {});
  void log(LogLevel level, const std::string& text);
  const GroupState& state() const;
  NodeId last_joined() const;

  ServerContext& context_;
  const Run& run_;
  Timeline timeline_;
  // Since when the round forms; none: none does.
  std::optional<Instant> forms_since_;
  bool is_last_call_ = false;
};

}  // namespace rdzv
