#include <utility>
#include <vector>

#include "group/codec.h"
#include "group/limits.h"
#include "group/ranks.h"
#include "wire/run_messages.h"

namespace rdzv {
namespace {

constexpr size_t kNodeBytesMin = 1 + 1 + 8 + 8;
constexpr size_t kMemberBytesMin = kNodeBytesMin + 8 + 4 + 1;

// Reads numbers and choices by their type.
struct Numbers {
  ByteReader& reader;
  bool is_valid = true;
  void field(const char*, uint32_t& value) { value = reader.u32(); }
  void field(const char*, uint64_t& value) { value = reader.u64(); }
  template <native::Choice T>
  void field(const char*, T& value) {
    const uint8_t number = reader.u8();
    is_valid = is_valid && number <= native::last_of<T>();
    if (is_valid) value = static_cast<T>(number);
  }
};

class Decoder {
 public:
  explicit Decoder(Bytes bytes) : bytes_(bytes), reader_(bytes) {}

  std::optional<Error> run(GroupState& into) {
    const bool fine = header() && numbers() && close_reason() && cause() && participants() &&
                      others(Role::kWaiting) && others(Role::kSpare) && lost() && end() &&
                      possible();
    if (!fine) return problem_;
    into = std::move(state_);
    return std::nullopt;
  }

 private:
  // Where each part began, for the checks that need all of them.
  struct Places {
    size_t closed = 0, settings = 0, round = 0, finished_round = 0, round_floor = 0, last_call = 0,
           newcomer = 0;
    size_t world_size = 0, failed_round = 0, participants = 0, waiting = 0, spares = 0, lost = 0;
  };

  bool fail(const std::string& what, size_t at) {
    problem_.emplace(ErrorCode::kState,
                     "cannot decode the state of the rendezvous: " + what + ", at byte " +
                         std::to_string(at) + " of " + std::to_string(bytes_.size()) +
                         "; the key holds something else, or another version wrote it: use another "
                         "run id, or delete the key");
    return false;
  }
  bool whole() { return reader_.ok() || fail("the bytes end too early", bytes_.size()); }

  bool flag(const char* name, bool& into) {
    const size_t at = reader_.position();
    const uint8_t value = reader_.u8();
    if (!whole()) return false;
    if (value > 1) {
      return fail(std::string(name) + " is " + std::to_string(value) + ", neither 0 nor 1", at);
    }
    into = value == 1;
    return true;
  }

  bool header() {
    if (bytes_.size() > kGroupBytesMax) {
      return fail("more than the " + std::to_string(kGroupBytesMax) + " bytes of the largest group",
                  kGroupBytesMax);
    }
    const uint8_t version = reader_.u8();
    if (!whole()) return false;
    if (version != kStateVersion) {
      return fail(
          "the version is " + std::to_string(version) + ", not " + std::to_string(kStateVersion),
          0);
    }
    places_.closed = reader_.position();
    bool has_settings = false;
    return flag("closed", state_.closed) && flag("complete", state_.complete) &&
           flag("rejoined", state_.rejoined) && flag("the settings flag", has_settings) &&
           (!has_settings || settings());
  }

  bool settings() {
    places_.settings = reader_.position();
    GroupSettings settings;
    Numbers numbers{reader_};
    native::settings_fields(numbers, settings);
    if (!whole()) return false;
    if (!numbers.is_valid) return fail("no such choice of a setting", places_.settings);
    if (const auto problem = settings_problem(settings)) return fail(*problem, places_.settings);
    state_.settings = settings;
    state_.roster.set_segment(settings.segment);
    return true;
  }

  bool numbers() {
    places_.round = reader_.position();
    state_.round = reader_.u64();
    places_.finished_round = reader_.position();
    state_.finished_round = reader_.u64();
    places_.round_floor = reader_.position();
    state_.round_floor = reader_.u64();
    const size_t attempt_at = reader_.position();
    state_.attempt = reader_.u64();
    const size_t serial_at = reader_.position();
    state_.serial = reader_.u64();
    places_.last_call = reader_.position();
    state_.last_call = reader_.u64();
    places_.newcomer = reader_.position();
    state_.newcomer = reader_.u64();
    places_.world_size = reader_.position();
    state_.world_size = reader_.u32();
    if (!whole()) return false;
    if (state_.round < 1 || state_.round > kRoundMax)
      return fail("an impossible round", places_.round);
    if (state_.finished_round >= state_.round) {
      return fail("the finished round is not before the current one", places_.finished_round);
    }
    if (state_.round_floor > kAfterRoundMax)
      return fail("an impossible round", places_.round_floor);
    if (state_.attempt > kAttemptMax) return fail("no such attempt", attempt_at);
    if (state_.serial > kSerialMax) return fail("an impossible serial", serial_at);
    if (state_.last_call > state_.serial) {
      return fail("the last call has a serial that was never given out", places_.last_call);
    }
    if (state_.newcomer > state_.serial || (state_.newcomer != 0 && !state_.complete))
      return fail("a new node has a serial that was never given out", places_.newcomer);
    return true;
  }

  bool close_reason() {
    const size_t at = reader_.position();
    const uint16_t bytes = reader_.u16();
    if (bytes > limits::kLastLineBytesMax) return fail("a reason that is too long", at);
    state_.close_reason = reader_.take(bytes);
    state_.closed_unix_ms = reader_.u64();
    if (!whole() || !flag("do_not_restart", state_.do_not_restart)) return false;
    const bool says = bytes > 0 || state_.closed_unix_ms > 0 || state_.do_not_restart;
    return state_.closed || !says || fail("a reason why an open group was closed", at);
  }

  bool cause() {
    places_.failed_round = reader_.position();
    state_.failed_round = reader_.u64();
    bool has_cause = false;
    if (!flag("the cause flag", has_cause)) return false;
    if (!has_cause) {
      return state_.failed_round == 0 || fail("a failed run without a cause", places_.failed_round);
    }
    if (state_.failed_round > state_.round)
      return fail("an impossible round", places_.failed_round);
    RootCause found;
    if (!node(found.node)) return false;
    found.ending.exit_code = static_cast<int32_t>(reader_.u32());
    found.ending.unix_ms = reader_.u64();
    const size_t at = reader_.position();
    const uint16_t bytes = reader_.u16();
    if (bytes > limits::kLastLineBytesMax) return fail("a last line that is too long", at);
    found.ending.last_line = reader_.take(bytes);
    state_.cause = std::move(found);
    return whole();
  }

  // Checked before anything is allocated for the entries.
  bool count(const char* what, size_t max, size_t entry_bytes_min, uint32_t& into) {
    const size_t at = reader_.position();
    into = reader_.u32();
    if (!whole()) return false;
    if (into > max) {
      return fail(std::to_string(into) + " " + what + ", more than " + std::to_string(max), at);
    }
    if (reader_.left() / entry_bytes_min < into) {
      return fail(std::to_string(into) + " " + what + ", more than the remaining bytes can hold",
                  at);
    }
    return true;
  }

  bool node(NodeId& into) {
    const size_t at = reader_.position();
    into.addr = reader_.take(reader_.u8());
    into.pid = reader_.i64();
    into.local_id = reader_.u64();
    if (!whole()) return false;
    const auto problem = node_problem(into);
    return !problem || fail("a node's " + *problem, at);
  }

  bool member(NodeId& node_into, Member& into) {
    if (!node(node_into)) return false;
    const size_t at = reader_.position();
    into.joined = reader_.u64();
    into.beats = reader_.u32();
    if (!whole()) return false;
    if (into.joined < 1 || into.joined > state_.serial) {
      return fail("a node has a serial that was never given out", at);
    }
    return member_has(into);
  }

  bool member_has(Member& into) {
    const size_t at = reader_.position();
    const uint8_t has = reader_.u8();
    if (has > (kHasRank | kHasGivenRank | kHasTopology | kIsDone))
      return fail("a node has unknown flags", at);
    if (has & kHasRank) into.rank = reader_.u32();
    if (has & kHasGivenRank) into.facts.rank = reader_.u32();
    if (has & kHasTopology) into.facts.topology = reader_.take(reader_.u8());
    if (!whole()) return false;
    if (has & kIsDone) into.role = Role::kDone;
    const bool fits = ((has & kHasRank) == 0 || into.rank < kGroupNodesMax) &&
                      ((has & kHasGivenRank) == 0) == (into.facts.rank == kNoRank) &&
                      ((has & kHasTopology) == 0) == into.facts.topology.empty();
    if (!fits) return fail("a node has an impossible rank or key", at);
    // Without settings nobody is listed, which is checked at the end; and a stand-in has no facts.
    if (!state_.settings || into.facts == NodeFacts()) return true;
    if (const auto problem = facts_problem(into.facts, *state_.settings)) return fail(*problem, at);
    return into.facts == used_facts(into.facts, *state_.settings) ||
           fail("a node has facts that its group does not use", at);
  }

  bool participants() {
    places_.participants = reader_.position();
    uint32_t left = 0;
    if (!count("participants", kGroupNodesMax, kMemberBytesMin, left)) return false;
    // world_size is not trusted yet: it sizes the next allocation.
    if (state_.complete && (state_.world_size < left || state_.world_size > kGroupNodesMax)) {
      return fail("world_size does not fit the participants", places_.world_size);
    }
    std::vector<bool> taken(state_.complete ? state_.world_size : 0);
    NodeId last;
    for (; left > 0; --left) {
      const size_t at = reader_.position();
      NodeId node;
      Member listed;
      if (!member(node, listed)) return false;
      if (state_.complete && !rank(listed, taken, at)) return false;
      if (listed.role == Role::kDone && !state_.complete)
        return fail("a node is done before the round is complete", at);
      if (!(last < node)) return fail("participants are not in order", at);
      state_.roster.add(node, listed);
      last = std::move(node);
    }
    return true;
  }

  bool rank(Member& into, std::vector<bool>& taken, size_t at) {
    if (into.rank >= taken.size()) return fail("a rank is not below world_size", at);
    if (taken[into.rank]) return fail("two nodes have the same rank", at);
    taken[into.rank] = true;
    if (into.role != Role::kDone) into.role = Role::kActive;
    return true;
  }

  bool others(Role role) {
    const bool spare = role == Role::kSpare;
    (spare ? places_.spares : places_.waiting) = reader_.position();
    const size_t room = kGroupNodesMax - state_.roster.size();
    uint32_t left = 0;
    if (!count(spare ? "spares" : "waiting nodes", room, kMemberBytesMin, left)) return false;
    NodeId last;
    uint64_t last_joined = 0;
    for (; left > 0; --left) {
      const size_t at = reader_.position();
      NodeId node;
      Member listed;
      if (!member(node, listed)) return false;
      if (listed.role == Role::kDone) return fail("a waiting node is done", at);
      listed.role = role;
      const bool ordered = spare ? last_joined < listed.joined : last < node;
      if (!ordered)
        return fail(spare ? "spares are not in order" : "waiting nodes are not in order", at);
      if (!state_.roster.add(node, listed))
        return fail("node " + to_text(node) + " is listed twice", at);
      last = std::move(node);
      last_joined = listed.joined;
    }
    return true;
  }

  bool lost() {
    places_.lost = reader_.position();
    uint32_t left = 0;
    if (!count("lost nodes", kLostNodesMax, kNodeBytesMin + 1 + 4, left)) return false;
    NodeId last;
    for (; left > 0; --left) {
      const size_t at = reader_.position();
      NodeId gone;
      if (!node(gone)) return false;
      const size_t at_reason = reader_.position();
      const uint8_t reason = reader_.u8();
      const uint32_t rank = reader_.u32();
      if (!whole()) return false;
      if (rank != kNoRank && rank >= kGroupNodesMax)
        return fail("a lost node has an impossible rank", at_reason);
      if (reason > static_cast<uint8_t>(LossReason::kGaveUp)) {
        return fail("an unknown reason for a loss", at_reason);
      }
      if (!(last < gone)) return fail("lost nodes are not in order", at);
      last = gone;
      state_.lost.emplace(std::move(gone), Loss{static_cast<LossReason>(reason), rank});
    }
    return true;
  }

  bool end() {
    return reader_.left() == 0 || fail("bytes are left after the end", reader_.position());
  }

  // What Group promises after every operation.
  bool possible() {
    const Roster& roster = state_.roster;
    const size_t waiting = roster.count(Role::kWaiting);
    const size_t spares = roster.count(Role::kSpare);
    if (!state_.settings) {
      if (state_.complete) return fail("a complete round without settings", places_.world_size);
      if (roster.size() > 0) return fail("nodes without settings", places_.participants);
      if (!state_.lost.empty()) return fail("lost nodes without settings", places_.lost);
      if (state_.cause) return fail("a cause without settings", places_.failed_round);
    }
    if (state_.closed && waiting + spares > 0)
      return fail("nodes wait in a closed group", places_.waiting);
    return state_.complete ? possible_complete(waiting, spares) : possible_forming(waiting, spares);
  }

  bool possible_forming(size_t waiting, size_t spares) {
    const size_t nodes = state_.settings ? takeable(state_.roster, *state_.settings) : 0;
    const size_t min = state_.settings ? state_.settings->min_nodes : 1;
    if (state_.rejoined)
      return fail("the rejoined flag is set while the round forms", places_.closed);
    if (state_.world_size != 0)
      return fail("a world_size while the round forms", places_.world_size);
    if (state_.round_floor >= state_.round) {
      return fail("a node took part in a later round", places_.round_floor);
    }
    if (state_.closed && state_.roster.count(Role::kForming) > 0)
      return fail("a round forms in a closed group", places_.participants);
    if (nodes > 0 && nodes >= state_.settings->max_nodes && kept_places(state_) == 0) {
      return fail("a round with max_nodes is not complete", places_.participants);
    }
    if ((nodes >= min) != (state_.last_call != 0)) {
      return fail("a last call without min_nodes, or min_nodes without a last call",
                  places_.last_call);
    }
    if (waiting + spares > 0) return fail("nodes wait while the round forms", places_.waiting);
    return true;
  }

  bool possible_complete(size_t waiting, size_t spares) {
    const size_t places_taken = state_.roster.participants() + waiting;
    const size_t max = state_.settings->max_nodes;
    if (state_.world_size < state_.settings->min_nodes || state_.world_size > max) {
      return fail("world_size is not between min_nodes and max_nodes", places_.world_size);
    }
    if (state_.world_size % state_.settings->segment != 0)
      return fail("world_size is not a multiple of segment", places_.world_size);
    if (state_.last_call != 0) return fail("a last call in a complete round", places_.last_call);
    if (state_.roster.count(Role::kActive) == 0) {
      return fail("a complete round without an active participant", places_.participants);
    }
    if (places_taken > max) return fail("more than max_nodes have a place", places_.waiting);
    if (state_.settings->segment == 1 && spares > 0 && places_taken + kept_places(state_) < max)
      return fail("spares while a place is free", places_.spares);
    return true;
  }

  Bytes bytes_;
  ByteReader reader_;
  GroupState state_;
  Places places_;
  std::optional<Error> problem_;
};

}  // namespace

std::optional<Error> decode_state(Bytes bytes, GroupState& into) {
  return Decoder(bytes).run(into);
}

}  // namespace rdzv
