// Thousands of random schedules of joins, deaths, leaves, closes, delays, and lost and repeated
// messages, by compare-and-set and in the server's core; and a bug seeded into each rule, which they
// find. The leader's way is in tests/property/test_rulebook.py.
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "group/seeded_bugs.h"
#include "rulebook_scene.h"
#include "rulebook_schedule.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr int kSteps = 60;
constexpr uint32_t kSchedules = 1'500;
constexpr Duration kInterval = std::chrono::seconds(5);

// Each node reads, applies the rulebook, and writes back; a write with an old token is refused.
class InTheNodes {
 public:
  explicit InTheNodes(Schedule& schedule)
      : schedule_(schedule), promises(schedule.settings, schedule.nodes, schedule.facts) {
    for (const NodeId& node : schedule.nodes)
      observers_[node].offset = std::chrono::seconds(schedule.draw(1'000'000));
  }

  void run() {
    for (int step = 0; step < kSteps; ++step) act(schedule_.deed(step), schedule_.node());
    // 10: if all that live ask and wait, a round begins, or too few are left.
    settle();
  }

 private:
  struct Observer {
    Group group;
    Duration offset{};
    std::string read;
    uint64_t token = 0;  // of what was read; 0: nothing was there
  };
  using Operation = std::function<void(Group&, Instant)>;

  void act(Deed deed, const NodeId& node) {
    switch (deed) {
      case Deed::kTime: {
        const int times = schedule_.draw(4) == 0 ? 8 : 1;
        for (int i = 0; i < times; ++i)
          pass(kInterval - std::chrono::milliseconds(schedule_.draw(2'000)));
        return;
      }
      case Deed::kDie:
        promises.dead.insert(node);
        return;
      case Deed::kJoin:
        return join(node);
      case Deed::kClose:
      case Deed::kVerdict:
        return apply(node, {deed, node}, [&](Group& group, Instant) {
          group.close(deed == Deed::kClose ? "enough" : "broken", 0, deed == Deed::kVerdict);
        });
      case Deed::kAttempt:
        schedule_.attempts[node] = ++schedule_.last_attempt;
        return join(node);
      default: {
        promises.dead.erase(node);
        const bool failed = deed == Deed::kFail;
        apply(node, {deed, node},
              [&](Group& group, Instant now) { group.leave(node, failed, now); });
      }
    }
  }

  void join(const NodeId& node) {
    promises.dead.erase(node);
    beat(node);
    const uint64_t after = rounds_[node];
    promises.asked[node] = after;
    const NodeFacts facts = schedule_.brings(node);
    const bool is_later = facts.attempt > attempt_;
    const Cause cause{is_later ? Deed::kAttempt : Deed::kJoin, node, facts.attempt};
    try {
      apply(node, cause, [&](Group& group, Instant now) {
        group.join(node, schedule_.settings, after, now, facts);
        const std::string once = group.encode();
        const bool may_ask_again = group.state().complete && group.state().round == after;
        group.join(node, schedule_.settings, after, now, facts);
        promise(may_ask_again || group.encode() == once, "12: a repeated join changes something");
      });
      attempt_ = facts.attempt;
    } catch (const Error& error) {  // closed, or its given rank is another one's
      const bool is_over = promises.now().closed && promises.now().has_failed;
      promise(!is_over || facts.attempt < attempt_ || error.code() == ErrorCode::kRunFailed,
              "28: who asks is told the verdict");
    }
  }

  void beat(const NodeId& node) {
    apply(node, {}, [&](Group& group, Instant now) { group.keep_alive(node, now); });
  }

  void pass(Duration duration) {
    now_ += duration;
    for (const NodeId& node : schedule_.nodes)
      if (!promises.dead.contains(node)) beat(node);
  }

  void settle() {
    if (promises.now().closed) return;
    for (const NodeId& node : schedule_.nodes)
      if (!promises.dead.contains(node)) join(node);
    for (int i = 0; i < 20; ++i) pass(kInterval);
    const bool is_watched = promises.dead.size() < schedule_.nodes.size();
    for (const NodeId& node : promises.dead) {
      const auto role = promises.now().role(node);
      promise(!is_watched || !role || role == Role::kDone, "5: the dead take no part");
    }
    for (const NodeId& node : schedule_.nodes) {
      const auto role = promises.now().role(node);
      promise(role != Role::kForming || schedule_.settings.segment > 1 ||
                  promises.now().count(Role::kForming) < schedule_.settings.min_nodes,
              "10: enough nodes wait, and the last call is over");
    }
    told();
  }

  // 25: once the debounce is over, those that wait are told.
  void told() {
    const Snapshot& now = promises.now();
    if (now.complete)
      promise(now.changes == now.count(Role::kWaiting) + now.lost.size(), "25: they are told");
  }

  void apply(const NodeId& by, const Cause& cause, const Operation& operation) {
    Observer& own = observers_[by];
    const Instant now = now_ + own.offset;
    if (schedule_.draw(10) < 7) read(own);
    for (;;) {
      if (own.token == 0) {
        own.group.observe(std::nullopt, now);
      } else {
        own.group.observe(own.read, now);
      }
      own.group.expire(now);
      const Snapshot expired = snapshot_of(own.group, schedule_.nodes);
      operation(own.group, now);
      const std::string changed = own.group.encode();
      if (own.token != token_) {
        // 11: refused.
        read(own);
        continue;
      }
      const uint64_t newcomer = own.group.state().newcomer;
      stored_ = changed;
      ++token_;
      read(own);
      promises.step(expired, {});
      const uint64_t told = promises.now().changes;
      promises.step(snapshot_of(own.group, schedule_.nodes), cause);
      silent(cause, told, newcomer, own.group);
      break;
    }
    const Snapshot& now_there = promises.now();
    for (const NodeId& node : schedule_.nodes)
      if (now_there.role(node) == Role::kActive) rounds_[node] = now_there.round;
  }

  // 25: a newcomer alone is not told at once.
  void silent(const Cause& cause, uint64_t told, uint64_t newcomer, const Group& group) {
    if (cause.deed != Deed::kJoin || told > 0 || schedule_.settings.debounce_ms == 0) return;
    const bool came = newcomer != newcomer_ && newcomer != 0;
    newcomer_ = newcomer;
    if (came && group.state().lost.empty() && !group.state().rejoined && group.state().complete)
      promise(group.changes() == 0, "25: a newcomer was told at once");
  }

  void read(Observer& own) {
    own.read = stored_;
    own.token = token_;
  }

  Schedule& schedule_;
  std::map<NodeId, Observer> observers_;
  std::map<NodeId, uint64_t> rounds_;
  std::string stored_;
  uint64_t token_ = 0;
  uint64_t newcomer_ = 0;
  uint64_t attempt_ = 0;  // the run's
  Instant now_{};

 public:
  Promises promises;
};

// Of all schedules.
struct Counts {
  size_t completed = 0;
  size_t displacements = 0;
  size_t replaced = 0;
};

// Runs schedules until a promise is broken; what it was, or nothing.
template <typename Way>
std::string broken_by(uint32_t schedules, Counts* counts = nullptr) {
  for (uint32_t seed = 0; seed < schedules; ++seed) {
    Schedule schedule(seed);
    Way way(schedule);
    try {
      way.run();
    } catch (const BrokenPromise& broken) {
      return "schedule " + std::to_string(seed) + " (" + to_text(schedule.settings) +
             "): " + broken.what();
    } catch (const Error& error) {
      return "schedule " + std::to_string(seed) + ": " + error.message();
    }
    if (counts == nullptr) continue;
    counts->completed += way.promises.completed;
    counts->displacements += way.promises.displacements;
    counts->replaced += way.promises.replaced;
  }
  return "";
}

}  // namespace

TEST_CASE("the promises of the rulebook hold by compare-and-set, whatever happens") {
  Counts counts;
  CHECK(broken_by<InTheNodes>(kSchedules, &counts) == "");
  CHECK(counts.completed > kSchedules);
  CHECK(counts.displacements > kSchedules / 4);
  CHECK(counts.replaced > kSchedules / 15);
}

#ifdef RDZV_SEEDED_BUGS
TEST_CASE("a bug that is seeded into a rule is found") {
  for (int bug = 1; bug <= static_cast<int>(Bug::kLast); ++bug) {
    CAPTURE(bug);
    seeded_bug = static_cast<Bug>(bug);
    const std::string found = broken_by<InTheNodes>(kSchedules);
    CHECK(found != "");
    MESSAGE(bug << ": " << found);
    seeded_bug = Bug::kNone;
  }
}
#endif
