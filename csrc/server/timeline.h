// What has happened to one run, or to the server, for whoever asks afterwards: its last events, oldest
// first. All timelines of a server together keep no more bytes than they may, and share them: where
// that is too little, whoever has more than an equal share loses its oldest events. Reads no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <string>

#include "base/clock.h"
#include "base/memory_account.h"
#include "group/node.h"
#include "wire/run_look_messages.h"

namespace rdzv {

struct Event {
  uint64_t serial = 0;  // of all timelines of a server, from 1 on
  Instant at{};
  native::EventKind kind = native::EventKind::kJoined;
  uint64_t round = 0;
  uint32_t nodes = 0;
  Duration took{};
  NodeId node{};
  std::string text{};
};

class Timeline;

class Timelines {
 public:
  explicit Timelines(uint64_t bytes_max) : bytes_max_(bytes_max), hand_(all_.end()) {}

  size_t bytes() const { return account_.used(); }
  // Of the event that was added last.
  uint64_t serial() const { return serial_; }

 private:
  friend class Timeline;

  void trim();

  const uint64_t bytes_max_;
  uint64_t serial_ = 0;
  MemoryAccount account_;
  std::list<Timeline*> all_;
  std::list<Timeline*>::iterator hand_;  // whose turn it is to lose something
};

class Timeline {
 public:
  explicit Timeline(Timelines& all);
  ~Timeline();
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;

  void add(Event event);

  // Events are numbered from 1 on, and numbers are never used again.
  uint64_t first() const { return first_; }
  uint64_t next() const { return first_ + events_.size(); }
  // first() <= number < next().
  const Event& at(uint64_t number) const { return events_[number - first_]; }
  size_t bytes() const { return charge_.bytes(); }

 private:
  friend class Timelines;

  void drop_oldest();

  Timelines& all_;
  std::list<Timeline*>::iterator place_;
  Charge charge_;
  uint64_t first_ = 1;
  std::deque<Event> events_;
};

}  // namespace rdzv
