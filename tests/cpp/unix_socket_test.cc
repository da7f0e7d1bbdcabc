// Unix sockets: what names one, whose file it is, and whose process is at the other end.
#include "net/unix_socket.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>

#include "base/error.h"
#include "net/socket.h"

using namespace rdzv;

namespace {

// A folder of its own, short enough for sockets.
struct Folder {
  Folder() { REQUIRE(::mkdtemp(name) != nullptr); }
  ~Folder() {
    for (const char* file : {"socket", "other"}) ::unlink(path(file).c_str());
    ::rmdir(name);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path(const std::string& file) const { return name + ("/" + file); }
  std::string host() const { return "unix://" + path("socket"); }

  char name[32] = "/tmp/rdzv-XXXXXX";
};

bool is_there(const std::string& path) {
  struct stat found{};
  return ::lstat(path.c_str(), &found) == 0;
}

template <typename Action>
ErrorCode code_of(Action&& action, std::string* message = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.message();
    return error.code();
  }
  return ErrorCode::kOk;
}

UniqueFd accepted(const UniqueFd& listener) {
  for (;;) {
    const int fd = ::accept(listener.get(), nullptr, nullptr);
    if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) return UniqueFd(fd);
  }
}

UniqueFd listen_at(const Folder& folder, SocketFile& file) {
  return listen_on_unix(folder.host(), file);
}

}  // namespace

TEST_CASE("a Unix socket is named by its scheme and an absolute path that fits") {
  CHECK(is_unix_host("unix:///tmp/a"));
  CHECK(is_unix_host("unix:/tmp/a"));
  CHECK_FALSE(is_unix_host("/tmp/a"));
  CHECK_FALSE(is_unix_host("unix"));
  CHECK(unix_path("unix:///tmp/a b") == "/tmp/a b");
  CHECK(unix_path("unix:/tmp/a") == "/tmp/a");
  const std::string longest = "/" + std::string(106, 'x');
  CHECK(unix_path("unix://" + longest) == longest);
  using namespace std::string_literals;
  for (const std::string& wrong : {"unix://a"s, "unix://"s, "unix:"s, "unix:///"s, "unix:///tmp/"s,
                                   "unix:///a\0b"s, "unix://" + longest + "x"})
    CHECK(code_of([&] { unix_path(wrong); }) == ErrorCode::kInvalidArgument);
}

TEST_CASE("the file of a listening socket is its user's alone, and goes with it") {
  const Folder folder;
  {
    SocketFile file;
    const UniqueFd listener = listen_at(folder, file);
    struct stat found{};
    REQUIRE(::lstat(folder.path("socket").c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
    CHECK(found.st_uid == ::geteuid());
    // Whoever has it is the only one, also once it has moved.
    SocketFile moved = std::move(file);
    file.remove();
    CHECK(is_there(folder.path("socket")));
    file = std::move(moved);
  }
  CHECK_FALSE(is_there(folder.path("socket")));
}

TEST_CASE("a file that another one has made meanwhile, or that was let go, stays") {
  const Folder folder;
  SocketFile file;
  {
    const UniqueFd listener = listen_at(folder, file);
    REQUIRE(::unlink(folder.path("socket").c_str()) == 0);
    std::ofstream(folder.path("socket")) << "another's";
  }
  file.remove();
  CHECK(is_there(folder.path("socket")));
  REQUIRE(::unlink(folder.path("socket").c_str()) == 0);
  {
    const UniqueFd listener = listen_at(folder, file);
    file.let_go();
    file.remove();
    CHECK(is_there(folder.path("socket")));
  }
}

TEST_CASE("one listens at a path at a time, and takes the place of one that is gone") {
  const Folder folder;
  SocketFile dead;
  {
    const UniqueFd listener = listen_at(folder, dead);
  }
  dead.let_go();
  REQUIRE(is_there(folder.path("socket")));
  int error = 0;
  CHECK_FALSE(connect_to_unix(folder.path("socket"), error));
  CHECK(error == ECONNREFUSED);

  SocketFile file;
  const UniqueFd listener = listen_at(folder, file);
  CHECK(connect_to_unix(folder.path("socket"), error));
  SocketFile second;
  std::string said;
  CHECK(code_of([&] { listen_at(folder, second); }, &said) == ErrorCode::kAddressInUse);
  CHECK(said.find("another server is there") != std::string::npos);
  CHECK(connect_to_unix(folder.path("socket"), error));
  CHECK_FALSE(connect_to_unix(folder.path("other"), error));
  CHECK(error == ENOENT);
}

TEST_CASE("what is no socket, or in no folder, is an error and stays as it is") {
  const Folder folder;
  std::ofstream(folder.path("other")) << "mine";
  SocketFile file;
  std::string said;
  const auto listen = [&](const std::string& path) {
    return code_of([&] { listen_on_unix("unix://" + path, file); }, &said);
  };
  CHECK(listen(folder.path("other")) == ErrorCode::kConnection);
  CHECK(said.find("not a socket") != std::string::npos);
  CHECK(is_there(folder.path("other")));
  CHECK(listen(folder.path("missing/socket")) == ErrorCode::kConnection);
  CHECK(said.find("missing/") != std::string::npos);
  // A link to a socket is no socket: it could lead anywhere.
  REQUIRE(::symlink("/dev/log", folder.path("socket").c_str()) == 0);
  CHECK(listen(folder.path("socket")) == ErrorCode::kConnection);
  CHECK(is_there(folder.path("socket")));
}

TEST_CASE("the process at the other end is this user's, on both sides") {
  const Folder folder;
  SocketFile file;
  const UniqueFd listener = listen_at(folder, file);
  int error = 0;
  const UniqueFd client = connect_to_unix(folder.path("socket"), error);
  REQUIRE(client);
  const UniqueFd server = accepted(listener);
  CHECK(why_not_same_user(client.get()).empty());
  CHECK(why_not_same_user(server.get()).empty());
  // Of other sockets the system could not say.
  const UniqueFd other = open_socket(AF_INET);
  CHECK(why_not_same_user(other.get()).empty());
}

// Only root can be somebody else.
TEST_CASE("a process of another user is told from one's own, whatever the file's mode" *
          doctest::skip(::geteuid() != 0)) {
  constexpr uid_t kNobody = 65534;
  const Folder folder;
  REQUIRE(::chmod(folder.name, 0755) == 0);
  SocketFile file;
  const UniqueFd listener = listen_at(folder, file);
  REQUIRE(::chmod(folder.path("socket").c_str(), 0666) == 0);
  const std::string path = folder.path("socket");
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int error = 0;
    const bool is_other = ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0;
    const UniqueFd client = connect_to_unix(path, error);
    // Root is no stranger to anybody.
    const bool takes_root = client && why_not_same_user(client.get()).empty();
    char byte;
    while (::read(client.get(), &byte, 1) < 0 && (errno == EAGAIN || errno == EINTR)) {
    }
    ::_exit(is_other && takes_root ? 0 : 1);
  }
  {
    const UniqueFd server = accepted(listener);
    CHECK(why_not_same_user(server.get()) == "it is a process of another user (uid 65534)");
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
