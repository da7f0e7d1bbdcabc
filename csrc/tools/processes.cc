#include "tools/processes.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/random.h"
#include "tools/meeting.h"
#include "tools/process.h"

namespace rdzv::tools {
namespace {

// Of a process of the driver, for all but its connections.
constexpr size_t kFilesBeside = 64;
// Each has a net of source addresses of its own (swarm_dial.cc).
constexpr size_t kProcessesMax = 255;

// A server closes the connections of the run before while we begin.
constexpr Duration kServerPatience = std::chrono::seconds(10);
constexpr Duration kServerLook = std::chrono::milliseconds(20);

std::string random_name() {
  std::array<uint8_t, 6> random{};
  fill_random(random.data(), random.size());
  std::string name;
  for (uint8_t byte : random) {
    char text[3];
    std::snprintf(text, sizeof(text), "%02x", byte);
    name += text;
  }
  return name;
}

size_t share_of(size_t connections, size_t processes, size_t index) {
  return connections / processes + (index < connections % processes ? 1 : 0);
}

size_t processes_for(const Options& options, size_t files) {
  size_t each_max = files > kFilesBeside ? files - kFilesBeside : 1;
  size_t needed = (options.connections + each_max - 1) / each_max;
  size_t processes = options.processes > 0 ? options.processes : needed;
  if (processes > options.connections)
    throw Error(ErrorCode::kInvalidArgument, "--processes " + std::to_string(processes) +
                                                 " are more than --connections " +
                                                 std::to_string(options.connections));
  if (processes < needed || processes > kProcessesMax)
    throw Error(ErrorCode::kLimit, "--connections " + std::to_string(options.connections) +
                                       " need " + std::to_string(needed) + " processes (at most " +
                                       std::to_string(kProcessesMax) +
                                       "), as the limit of open files of one is " +
                                       std::to_string(files) + " (ulimit -n)");
  return processes;
}

// Connections beyond the server's limit would hang until the timeout: a server that may open no
// more files leaves them in its queue.
void check_server(const Options& options) {
  Deadline deadline = Deadline::after(kServerPatience);
  for (;;) {
    OpenFiles files = open_files_of(options.server_pid);
    if (files.limit == 0 || files.open + options.connections <= files.limit) return;
    if (options.connections > files.limit || deadline.passed()) {
      throw Error(ErrorCode::kLimit, "--connections " + std::to_string(options.connections) +
                                         " are too many for the server: its process, " +
                                         std::to_string(options.server_pid) + ", may have " +
                                         std::to_string(files.limit) + " open files and has " +
                                         std::to_string(files.open) +
                                         " (the server's ulimit -n, not the driver's)");
    }
    std::this_thread::sleep_for(kServerLook);
  }
}

[[noreturn]] void play_part(const Options& options, Part part, int coordinator,
                            const Scene& scene) {
  Report report;
  bool was_told = false;
  try {
    scene(options, part, report);
    was_told = say(coordinator, Said::kReport, report.encode());
  } catch (const Error& error) {
    std::string body(1, static_cast<char>(error.code()));
    was_told = say(coordinator, Said::kError, body + error.message());
  }
  ::_exit(was_told ? 0 : 1);
}

class Children {
 public:
  Children(const Options& options, size_t count, Board& board, const std::string& name,
           const Scene& scene)
      : children_(count) {
    size_t first = 0;
    for (size_t i = 0; i < count; ++i) {
      Options theirs = options;
      theirs.connections = share_of(options.connections, count, i);
      // Those are of the whole run, too. 0 would mean: as many as there is time for.
      if (options.count > 0) theirs.count = std::max<size_t>(1, share_of(options.count, count, i));
      theirs.dials_at_once = std::max<size_t>(1, share_of(options.dials_at_once, count, i));
      start(i, theirs, board, name, first, scene);
      first += theirs.connections;
    }
  }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;
  ~Children() {
    for (Child& child : children_) end(child);
  }

  void play_to_the_end(Report& report) {
    std::vector<pollfd> polled;
    for (const Child& child : children_) polled.push_back({child.fd.get(), POLLIN, 0});
    while (ended_ < children_.size()) {
      if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR)
        throw Error(ErrorCode::kLimit, "poll: " + errno_text(errno));
      for (size_t i = 0; i < polled.size(); ++i) {
        if (polled[i].revents == 0) continue;
        hear(i, report);
        if (children_[i].has_ended) polled[i].fd = -1;
      }
    }
  }

 private:
  struct Child {
    pid_t pid = 0;
    UniqueFd fd;
    bool has_ended = false;
  };

  void start(size_t index, const Options& options, Board& board, const std::string& name,
             size_t first, const Scene& scene) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      throw Error(ErrorCode::kLimit, "socketpair: " + errno_text(errno));
    UniqueFd ours(pair[0]);
    UniqueFd theirs(pair[1]);
    pid_t parent = ::getpid();
    pid_t pid = ::fork();
    if (pid < 0) throw Error(ErrorCode::kLimit, "fork: " + errno_text(errno));
    if (pid == 0) {
      // Whoever kills the coordinator means all of it.
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      ours.reset();
      for (Child& child : children_) child.fd.reset();
      play_part(options, Part(board, name, index, first, theirs.get()), theirs.get(), scene);
    }
    children_[index].pid = pid;
    children_[index].fd = std::move(ours);
  }

  static void end(Child& child) {
    if (child.pid == 0) return;
    ::kill(child.pid, SIGKILL);
    int status = 0;
    while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) continue;
    child.pid = 0;
  }

  std::string who(size_t index) const {
    return "process " + std::to_string(index + 1) + " of " + std::to_string(children_.size());
  }

  void hear(size_t index, Report& report) {
    Child& child = children_[index];
    Said said{};
    std::string body;
    if (!tools::hear(child.fd.get(), said, body))
      throw Error(ErrorCode::kClosed, who(index) + " died: " + last_words(child));
    switch (said) {
      case Said::kMeet:
        came(body[0] != 0);
        break;
      case Said::kReport:
        report.merge(Report::decode(body));
        child.has_ended = true;
        ++ended_;
        break;
      case Said::kError:
        throw Error(static_cast<ErrorCode>(body[0]), who(index) + ": " + body.substr(1));
    }
  }

  void came(bool is_well) {
    all_well_ = all_well_ && is_well;
    if (++waiting_ < children_.size()) return;
    char answer = all_well_ ? 1 : 0;
    // One that is gone is noticed when it is heard.
    for (const Child& child : children_) say(child.fd.get(), Said::kMeet, Bytes(&answer, 1));
    waiting_ = 0;
    all_well_ = true;
  }

  static std::string last_words(Child& child) {
    int status = 0;
    while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) continue;
    child.pid = 0;
    if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
    return "exit code " + std::to_string(WEXITSTATUS(status));
  }

  std::vector<Child> children_;
  size_t ended_ = 0;
  size_t waiting_ = 0;
  bool all_well_ = true;
};

}  // namespace

void play(const Options& options, bool can_share, const Scene& scene, Report& report) {
  if (!can_share && options.processes > 1)
    throw Error(ErrorCode::kInvalidArgument,
                options.scenario + " plays one connection, so --processes can only be 1");
  Options wanted = options;
  if (!can_share) wanted.connections = 1;
  size_t processes = processes_for(wanted, raise_file_limit());
  check_server(wanted);
  Board board(wanted.connections);
  std::string name = random_name();
  report.add("processes", uint64_t{processes});
  if (processes == 1) {
    Part part(board, name, 0, 0, -1);
    scene(wanted, part, report);
    return;
  }
  Children(wanted, processes, board, name, scene).play_to_the_end(report);
}

}  // namespace rdzv::tools
