// The load driver as it is run: a process of its own, or several, against a server in this one.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "net/address.h"
#include "net/socket.h"
#include "server/server.h"
#include "support.h"
#include "tls/keeper.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

// Its output, errors included, comes by a pipe. `files` is the limit of open files that it gets; 0:
// that of this process.
class Driver {
 public:
  Driver(std::vector<std::string> words, uint16_t port, int files = 0) {
    words.insert(words.begin(), RDZV_LOAD_DRIVER);
    words.insert(words.end(), {"--port", std::to_string(port)});
    if (files > 0) {
      std::string limited = "ulimit -n " + std::to_string(files) + " && exec \"$0\" \"$@\"";
      words.insert(words.begin(), {"/bin/sh", "-c", limited});
    }
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    output_.reset(ends[0]);
    UniqueFd input(ends[1]);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::dup2(input.get(), STDOUT_FILENO);
      ::dup2(input.get(), STDERR_FILENO);
      ::execv(arguments[0], arguments.data());
      ::_exit(127);
    }
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  ~Driver() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    exit_code();
  }

  pid_t pid() const { return pid_; }

  // Everything that it says until it has ended, and all its children.
  std::string output() {
    std::string text;
    char buffer[4096];
    for (ssize_t got; (got = ::read(output_.get(), buffer, sizeof(buffer))) > 0;)
      text.append(buffer, static_cast<size_t>(got));
    return text;
  }

  // 128 and more: it was killed.
  int exit_code() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  // Its processes, once there are so many.
  std::vector<pid_t> children(size_t wanted) const {
    std::string main = std::to_string(pid_);
    Deadline deadline = Deadline::after(kHang);
    while (!deadline.passed()) {
      std::ifstream file("/proc/" + main + "/task/" + main + "/children");
      std::vector<pid_t> found;
      for (pid_t pid; file >> pid;) found.push_back(pid);
      if (found.size() == wanted) return found;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    FAIL("the driver has not started its processes");
    return {};
  }

 private:
  pid_t pid_ = 0;
  UniqueFd output_;
};

struct Ended {
  int code;
  std::string output;

  bool says(const std::string& part) const { return output.find(part) != std::string::npos; }
  // A number of the JSON object; -1 where there is none.
  double number(const std::string& name) const {
    size_t at = output.find("\"" + name + "\": ");
    return at == std::string::npos ? -1 : std::strtod(&output[at + name.size() + 4], nullptr);
  }
  double count_of_times(const std::string& name) const {
    size_t at = output.find("\"" + name + "\": {\"count\": ");
    return at == std::string::npos ? -1 : std::strtod(&output[at + name.size() + 14], nullptr);
  }
};

Ended drive(const std::string& line, uint16_t port, int files = 0) {
  std::istringstream words(line);
  std::vector<std::string> list;
  for (std::string word; words >> word;) list.push_back(word);
  Driver driver(list, port, files);
  std::string output = driver.output();
  return {driver.exit_code(), output};
}

// Accepts nobody unless asked to.
class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
    REQUIRE(::listen(fd_.get(), 64) == 0);
  }
  uint16_t port() const { return SocketAddress::local_of(fd_.get()).port(); }
  UniqueFd accept(sockaddr_in& peer) const {
    REQUIRE(wait_ready(fd_.get(), true, false, kHang).readable);
    socklen_t size = sizeof(peer);
    return UniqueFd(::accept(fd_.get(), reinterpret_cast<sockaddr*>(&peer), &size));
  }

 private:
  UniqueFd fd_;
};

bool is_running(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t end_of_name = text.rfind(')');
  return end_of_name != std::string::npos && text[end_of_name + 2] != 'Z';
}

void wait_until_gone(const std::vector<pid_t>& pids) {
  Deadline deadline = Deadline::after(kHang);
  for (pid_t pid : pids) {
    while (is_running(pid) && !deadline.passed())
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK_FALSE(is_running(pid));
  }
}

// Our ends of connections to that port that this machine keeps for a minute, as they were the first
// to close.
std::set<std::string> waiting_ends(uint16_t port) {
  constexpr const char* kTimeWait = "06";
  char wanted[16];
  std::snprintf(wanted, sizeof(wanted), "0100007F:%04X", port);
  std::ifstream file("/proc/net/tcp");
  std::set<std::string> ends;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string slot, local, remote, state;
    fields >> slot >> local >> remote >> state;
    if (remote == wanted && state == kTimeWait) ends.insert(local);
  }
  return ends;
}

TEST_CASE("load driver: one process or several play every scenario, and find the same counts") {
  Server server("127.0.0.1", 0);
  struct Played {
    const char* line;
    const char* times;  // which have one of every rank
  };
  for (const Played& played : {
           Played{"idle --protocol native", "handshake_us"},
           Played{"start --protocol native", "release_us"},
           Played{"start --protocol c10d", "release_us"},
           Played{"rendezvous --protocol native", "join_us"},
           Played{"rendezvous --protocol native --connections-first yes", "join_us"},
           Played{"rendezvous --protocol native --lose 9", "join_us"},
           Played{"barrier --protocol native", nullptr},
           Played{"barrier --protocol c10d", nullptr},
           Played{"exchange --protocol native", nullptr},
           Played{"exchange --protocol c10d", nullptr},
       }) {
    for (const char* processes : {"1", "3"}) {
      std::string line = played.line;
      line += std::string(" --connections 20 --processes ") + processes;
      Ended ended = drive(line, server.port());
      CAPTURE(line);
      CAPTURE(ended.output);
      CHECK(ended.code == 0);
      CHECK(ended.number("processes") == std::stod(processes));
      CHECK(ended.number("count") == 20);
      CHECK(ended.number("connected") == 20);
      CHECK(ended.number("errors") == 0);
      CHECK(ended.number("seconds") > 0);
      if (played.times != nullptr) CHECK(ended.count_of_times(played.times) == 20);
    }
  }
}

TEST_CASE("load driver: the ranks of a lost part are replaced, in whichever process they are") {
  Server server("127.0.0.1", 0);
  // More than the first process plays.
  Ended ended =
      drive("rendezvous --protocol native --connections 9 --processes 3 --lose 5", server.port());
  CAPTURE(ended.output);
  CHECK(ended.code == 0);
  CHECK(ended.number("lost") == 5);
  CHECK(ended.number("reformed_s") > 0);
  CHECK(ended.number("noticed_by_all_s") > 0);
}

TEST_CASE("load driver: operations and keep-alives of several processes are added up") {
  Server server("127.0.0.1", 0);
  Ended ops = drive("ops --connections 6 --processes 3 --count 600 --keys 10 --protocol native",
                    server.port());
  CAPTURE(ops.output);
  CHECK(ops.code == 0);
  CHECK(ops.number("count") >= 600);
  CHECK(ops.count_of_times("latency_us") == ops.number("count"));
  CHECK(ops.number("connections") == 6);

  Ended kept = drive(
      "keepalive --connections 9 --processes 3 --protocol native --seconds 0.2 --interval 0.1",
      server.port());
  CAPTURE(kept.output);
  CHECK(kept.code == 0);
  CHECK(kept.number("keep_alives") >= 18);
  CHECK(kept.count_of_times("keep_alive_us") == kept.number("keep_alives"));
}

#ifdef RDZV_TLS
TEST_CASE(
    "load driver: with a token it speaks TLS, and with a wrong one it says what it was told") {
  const std::string secret = "0123456789abcdef0123456789abcdef";
  const tls::Texts texts{secret};
  Server server("127.0.0.1", 0, {}, false,
                {std::make_shared<tls::Keeper>(tls::Keeper::Side::kServer, texts)});
  const std::string path = "load_driver_token." + std::to_string(::getpid());
  const auto with_token = [&](const std::string& text, const std::string& line) {
    std::ofstream(path) << text;
    Ended ended = drive(line + " --protocol native --token-file " + path, server.port());
    ::unlink(path.c_str());
    CAPTURE(ended.output);
    return ended;
  };
  const Ended ops = with_token(secret, "ops --connections 4 --in-flight 16 --count 600 --keys 10");
  CHECK(ops.code == 0);
  CHECK(ops.number("count") >= 600);
  const Ended nodes = with_token(secret, "rendezvous --connections 20 --processes 2 --lose 3");
  CHECK(nodes.code == 0);
  CHECK(nodes.number("connected") == 20);
  const Ended refused = with_token(std::string(32, 'x'), "idle --connections 2");
  CHECK(refused.code == 1);
  CHECK(refused.output.find("token") != std::string::npos);
  // Others get nowhere, and the server does not mind.
  CHECK(drive("idle --connections 2 --protocol native", server.port()).code == 1);
  CHECK(with_token(secret, "idle --connections 2").code == 0);
}
#endif

TEST_CASE("load driver: each process has source addresses of its own") {
  Listener listener;
  Driver driver({"idle", "--connections", "6", "--processes", "3"}, listener.port());
  std::multiset<std::string> addresses;
  std::vector<UniqueFd> accepted;
  for (int i = 0; i < 6; ++i) {
    sockaddr_in peer{};
    accepted.push_back(listener.accept(peer));
    addresses.insert(::inet_ntoa(peer.sin_addr));
  }
  CHECK(addresses == std::multiset<std::string>{"127.0.0.1", "127.0.0.1", "127.0.1.1", "127.0.1.1",
                                                "127.0.2.1", "127.0.2.1"});
}

TEST_CASE("load driver: it leaves no port waiting behind") {
  Server server("127.0.0.1", 0);
  // A server that had this port before may have had clients that do.
  std::set<std::string> before = waiting_ends(server.port());
  for (const char* line : {"idle --connections 20", "ops --connections 20 --count 100 --keys 5"})
    CHECK(drive(line, server.port()).code == 0);
  for (const std::string& end : waiting_ends(server.port())) CHECK(before.contains(end));
}

TEST_CASE("load driver: when a process dies, the driver says which and ends the others") {
  Listener silent;
  Driver driver({"idle", "--connections", "6", "--processes", "3"}, silent.port());
  std::vector<pid_t> children = driver.children(3);
  ::kill(children[1], SIGKILL);
  std::string said = driver.output();
  CHECK(said.find("process 2 of 3 died: signal 9") != std::string::npos);
  CHECK(driver.exit_code() == 1);
  wait_until_gone(children);
}

TEST_CASE("load driver: a driver that is killed takes its processes along") {
  Listener silent;
  std::vector<pid_t> children;
  {
    Driver driver({"idle", "--connections", "6", "--processes", "3"}, silent.port());
    children = driver.children(3);
  }
  wait_until_gone(children);
}

TEST_CASE("load driver: a failure of one process is the run's, with its reason") {
  uint16_t closed = Listener().port();
  // A barrier needs all; who only connects counts what failed, and goes on.
  Ended all = drive("barrier --connections 6 --processes 3", closed);
  CAPTURE(all.output);
  CHECK(all.code == 1);
  CHECK(all.says(" of 3: "));
  CHECK(all.says("refused"));
  Ended counted = drive("idle --connections 6 --processes 3", closed);
  CAPTURE(counted.output);
  CHECK(counted.code == 1);
  CHECK(counted.number("errors") == 6);
  CHECK(counted.says("refused"));
}

TEST_CASE("load driver: it takes as many processes as the limit of open files makes necessary") {
  Server server("127.0.0.1", 0);
  Ended ended = drive("start --protocol native --connections 100", server.port(), 100);
  CAPTURE(ended.output);
  CHECK(ended.code == 0);
  CHECK(ended.number("processes") == 3);
  CHECK(ended.number("connected") == 100);
  CHECK(ended.count_of_times("release_us") == 100);

  Ended one = drive("start --protocol native --connections 100 --processes 1", server.port(), 100);
  CAPTURE(one.output);
  CHECK(one.code == 1);
  CHECK(one.says("need 3 processes"));
}

TEST_CASE("load driver: a server whose limit of open files is too low is told before all else") {
  Listener silent;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit low{200, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  Ended ended =
      drive("idle --connections 201 --server-pid " + std::to_string(::getpid()), silent.port());
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CAPTURE(ended.output);
  CHECK(ended.code == 1);
  CHECK(ended.says("may have 200 open files"));
  CHECK(ended.says("the server's ulimit -n"));
}

TEST_CASE("load driver: a number of processes that cannot be is refused") {
  Listener silent;
  Ended few = drive("idle --connections 2 --processes 3", silent.port());
  CHECK(few.code == 2);
  CHECK(few.says("--processes 3"));
  Ended one = drive("keys --processes 2", silent.port());
  CHECK(one.code == 2);
  CHECK(one.says("one connection"));
}

}  // namespace
