// What one process plays of a scenario, and what it shares with the processes that play the rest of
// it: a name, a place to meet, and a board that all can write on. Alone it plays everything and
// never waits. Who forks and what goes wrong there is in processes.h.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/clock.h"

namespace rdzv::tools {

// Memory that all processes forked after it see.
class Board {
 public:
  // Throws Error{kLimit} when there is no memory for it.
  explicit Board(size_t world_size);
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;
  ~Board();

  size_t world_size() const { return world_size_; }
  std::atomic<int64_t>& moment_ns();
  std::atomic<uint32_t>& round_of(size_t rank);

 private:
  size_t bytes() const;

  size_t world_size_;
  void* memory_;
};

class Part {
 public:
  // `meeting` is a socket to who tells when all have come (processes.cc), or -1: alone.
  Part(Board& board, std::string name, size_t index, size_t first, int meeting);

  // Which of the processes, from 0 on.
  size_t index() const { return index_; }
  // Its connections are the ranks from this one on.
  size_t first() const { return first_; }
  // The ranks of all processes.
  size_t world_size() const { return board_.world_size(); }
  // A name that no other run against the same server has; all processes have the same.
  std::string prefix(const std::string& scenario) const { return scenario + "/" + name_ + "/"; }

  // Waits until all processes have come. Every process calls it equally often. True when all said
  // that they are well; otherwise none should go on with what needs them all.
  bool meet(bool is_well = true);

  // A moment that one process knows and the others look up afterwards.
  void set_moment(Instant moment) { board_.moment_ns() = moment.time_since_epoch().count(); }
  Instant moment() const { return Instant(Duration(board_.moment_ns())); }
  // Whether nobody, in any process, has taken this rank of that round (from 1 on) before.
  bool claim(size_t rank, uint32_t round) { return board_.round_of(rank).exchange(round) != round; }

 private:
  Board& board_;
  std::string name_;
  size_t index_;
  size_t first_;
  int meeting_;
};

}  // namespace rdzv::tools
