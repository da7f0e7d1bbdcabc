// A connection as runs see it: where their answers go, and what it has to do with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/error.h"
#include "base/hash.h"
#include "base/memory_account.h"
#include "wire/run_look_messages.h"
#include "wire/run_messages.h"

namespace rdzv {

class Run;
struct Seat;
struct Subscription;
struct Follower;

// What one connection has in runs, by the names that it gave: seats by their handles; JOINs,
// SUBSCRIBEs and FOLLOWs that wait, by the tags of their requests. Each run puts here what it has of the
// connection, and takes it away.
class RunTies {
 public:
  struct Place {
    Run* run = nullptr;
    Seat* seat = nullptr;  // a node's, or that of a JOIN
    Subscription* subscription = nullptr;
    Follower* follower = nullptr;
  };

  // `waits_of_all`: counts those of all connections that are in the same name space.
  RunTies(HashSeed seed, size_t& waits_of_all)
      : seats_(0, NumberHash{seed}), waits_(0, NumberHash{seed}), waits_of_all_(waits_of_all) {}
  ~RunTies() { waits_of_all_ -= waits_.size(); }
  RunTies(const RunTies&) = delete;
  RunTies& operator=(const RunTies&) = delete;

  void add_seat(uint32_t handle, Run& run, Seat& seat) {
    seats_.emplace(handle, Place{&run, &seat});
    ++runs_[&run];
  }
  void remove_seat(uint32_t handle, const Run& run) {
    seats_.erase(handle);
    leave(run);
  }
  void add_join(uint64_t tag, Run& run, Seat& seat) { add_wait(tag, Place{&run, &seat}); }
  void remove_join(uint64_t tag) { remove_wait(tag); }
  void add_subscription(uint64_t tag, Run& run, Subscription& subscription) {
    add_wait(tag, Place{.run = &run, .subscription = &subscription});
    ++runs_[&run];
  }
  void add_follower(uint64_t tag, Run& run, Follower& follower) {
    add_wait(tag, Place{.run = &run, .follower = &follower});
    ++runs_[&run];
  }
  // Or of a follower.
  void remove_subscription(uint64_t tag, const Run& run) {
    remove_wait(tag);
    leave(run);
  }

  const Place* seat(uint32_t handle) const { return find(seats_, handle); }
  const Place* wait(uint64_t tag) const { return find(waits_, tag); }
  // Any of them; null: there is none.
  const Place* any_seat() const { return any(seats_); }
  const Place* any_wait() const { return any(waits_); }
  size_t seats() const { return seats_.size(); }
  size_t waits() const { return waits_.size(); }
  // With how many runs it has to do.
  size_t runs() const { return runs_.size(); }
  bool is_in(const Run& run) const { return runs_.contains(&run); }

 private:
  static const Place* find(const auto& places, auto name) {
    const auto found = places.find(name);
    return found == places.end() ? nullptr : &found->second;
  }
  static const Place* any(const auto& places) {
    return places.empty() ? nullptr : &places.begin()->second;
  }
  void add_wait(uint64_t tag, const Place& place) {
    if (waits_.emplace(tag, place).second) ++waits_of_all_;
  }
  void remove_wait(uint64_t tag) { waits_of_all_ -= waits_.erase(tag); }
  void leave(const Run& run) {
    const auto found = runs_.find(&run);
    if (--found->second == 0) runs_.erase(found);
  }

  NumberMap<uint32_t, Place> seats_;
  NumberMap<uint64_t, Place> waits_;
  size_t& waits_of_all_;
  std::unordered_map<const Run*, size_t> runs_;  // how many of these
};

class RunPeer {
 public:
  RunPeer(HashSeed seed, size_t& waits_of_all) : ties_(seed, waits_of_all) {}
  virtual ~RunPeer() = default;
  virtual void on_joined(uint64_t tag, const native::JoinReply& reply) = 0;
  virtual void on_join_failed(uint64_t tag, ErrorCode code, const std::string& message) = 0;
  virtual void on_changes(uint64_t tag, const native::SubscribeReply& reply) = 0;

  virtual void on_followed(uint64_t tag, const native::FollowReply& reply) = 0;

  // What its JOINs, SUBSCRIBEs and FOLLOWs take while they wait.
  virtual MemoryAccount& parked() = 0;

  // As Transport::reached_at.
  virtual std::string reached_at() const = 0;

  RunTies& ties() { return ties_; }
  const RunTies& ties() const { return ties_; }

 private:
  RunTies ties_;
};

}  // namespace rdzv
