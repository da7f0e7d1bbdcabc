// The server's core in memory: what a few strangers send it, in pieces and in turns, while time goes
// by and they read or do not read their answers. Each instruction of the input is a byte (which
// connection, and what happens) and what belongs to it.
#include "server/core.h"

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "../cpp/memory_transport.h"
#include "base/log.h"
#include "input.h"
#include "targets.h"

namespace rdzv::fuzz {
namespace {

constexpr size_t kConnections = 4;

class Scene {
 public:
  Scene() : core_(limits(), "fuzz", HashSeed{1, 2}, {7, 7, 7}) {}

  void play(Input& input) {
    while (!input.is_empty()) {
      const uint8_t what = input.byte();
      Line& line = lines_[what % kConnections];
      if (line.connection == nullptr) {
        line.transport = std::make_unique<test::MemoryTransport>();
        line.connection = &core_.connect(*line.transport, time_);
      }
      step(line, what / kConnections, input);
      end_turn();
    }
  }

  // Everybody hangs up: nothing is left of them.
  void end() {
    for (Line& line : lines_) {
      if (line.connection != nullptr) core_.close(*line.connection, "", time_);
    }
    end_turn();
    check(core_.connections() == 0, "who has hung up is gone");
  }

 private:
  struct Line {
    std::unique_ptr<test::MemoryTransport> transport;
    Connection* connection = nullptr;
  };

  // Small ones are met more often.
  static ServerLimits limits() {
    ServerLimits limits;
    limits.connections = 3;
    limits.unread_bytes = 4096;
    limits.waits_per_connection = 8;
    limits.stored_bytes = 64 * 1024;
    limits.runs = 4;
    limits.nodes_per_connection = 4;
    return limits;
  }

  void step(Line& line, int what, Input& input) {
    switch (what % 8) {
      case 0:
        core_.end_of_stream(*line.connection, time_);
        break;
      case 1:
        pass(std::chrono::milliseconds(input.number()));
        break;
      case 2:
        line.transport->read();
        line.transport->room = size_t{16} << (input.byte() % 24);
        core_.resume_sending(*line.connection, time_);
        break;
      default:
        give(line, input.take(1 + input.byte()));
    }
  }

  void give(Line& line, Bytes bytes) {
    while (!bytes.empty() && line.connection->wants_input()) {
      const Exact piece(bytes.substr(0, std::max<size_t>(1, line.connection->input_room())));
      bytes.remove_prefix(piece.view().size());
      core_.receive(*line.connection, piece.view(), time_);
    }
  }

  void pass(Duration duration) {
    time_.now += duration;
    time_.awake += duration;
    core_.run_due(time_, time_);
  }

  void end_turn() {
    for (int turns = 0; core_.end_turn(time_); ++turns) check(turns < 100'000, "work ends");
    for (Line& line : lines_) {
      if (line.transport != nullptr && line.transport->closed) line = {};
    }
  }

  ServerCore core_;
  Moment time_{Instant(std::chrono::hours(1)), Instant(std::chrono::hours(1))};
  Line lines_[kConnections];
};

}  // namespace

void server(Bytes bytes) {
  Input input(bytes);
  Scene scene;
  scene.play(input);
  scene.end();
  // Nobody reads the log here, and it holds so many records.
  while (LogQueue::instance().read(Duration::zero())) {
  }
}

}  // namespace rdzv::fuzz
