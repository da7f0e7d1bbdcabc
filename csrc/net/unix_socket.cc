#include "net/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "net/socket.h"

namespace rdzv {
namespace {

constexpr char kScheme[] = "unix:";
constexpr size_t kSchemeBytes = sizeof(kScheme) - 1;
constexpr mode_t kMode = 0600;
constexpr int kBacklog = 65535;  // the kernel cuts it to net.core.somaxconn

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

[[noreturn]] void throw_cannot(const std::string& host, const std::string& why) {
  throw Error(ErrorCode::kConnection, "cannot listen on " + host + ": " + why);
}

// Whoever holds it is the only one that looks at the folder's sockets, and replaces one.
UniqueFd locked_folder(const std::string& host, const std::string& path) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_cannot(host, folder + ": " + errno_text(errno));
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) throw_cannot(host, "cannot lock " + folder + ": " + errno_text(errno));
  }
  return fd;
}

// Removes the file of a server that is gone.
void remove_stale(const std::string& host, const std::string& path) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return;
    throw_cannot(host, errno_text(errno));
  }
  if (!S_ISSOCK(found.st_mode)) throw_cannot(host, "what is there is not a socket");
  if (found.st_uid != ::geteuid()) throw_cannot(host, "the socket there is another user's");
  int error = 0;
  const UniqueFd probe = connect_to_unix(path, error);
  // One whose queue is full is alive.
  if (probe || error != ECONNREFUSED) {
    throw Error(
        ErrorCode::kAddressInUse,
        "cannot listen on " + host + ": another server is there; stop it, or use another path");
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw_cannot(host, errno_text(errno));
}

// -1: the system does not say.
int64_t peer_user(int fd) {
#if defined(__linux__)
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
  return peer.uid;
#else
  uid_t user = 0;
  gid_t group = 0;
  return ::getpeereid(fd, &user, &group) == 0 ? int64_t{user} : -1;
#endif
}

}  // namespace

bool is_unix_host(const std::string& host) {
  return host.starts_with(kScheme);
}

std::string unix_path(const std::string& host) {
  std::string path = host.substr(kSchemeBytes);
  if (path.starts_with("//")) path.erase(0, 2);
  if (!path.starts_with('/') || path.ends_with('/') || path.find('\0') != std::string::npos) {
    throw Error(ErrorCode::kInvalidArgument,
                "'" + host + "' names no Unix socket: write unix:// and an absolute path, for " +
                    "example unix:///run/user/1000/store");
  }
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    throw Error(ErrorCode::kInvalidArgument, "'" + host + "': the path of a Unix socket has " +
                                                 std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                                                 " bytes at most; use a shorter one");
  }
  return path;
}

SocketFile::SocketFile(SocketFile&& other) noexcept
    : path_(std::exchange(other.path_, {})), device_(other.device_), number_(other.number_) {}

SocketFile& SocketFile::operator=(SocketFile&& other) noexcept {
  if (this == &other) return *this;
  remove();
  path_ = std::exchange(other.path_, {});
  device_ = other.device_;
  number_ = other.number_;
  return *this;
}

void SocketFile::remove() {
  const std::string path = std::exchange(path_, {});
  struct stat found{};
  if (path.empty() || ::lstat(path.c_str(), &found) != 0) return;
  if (found.st_dev == device_ && found.st_ino == number_) ::unlink(path.c_str());
}

UniqueFd listen_on_unix(const std::string& host, SocketFile& file) {
  const std::string path = unix_path(host);
  const UniqueFd lock = locked_folder(host, path);
  remove_stale(host, path);
  UniqueFd fd = open_socket(AF_UNIX);
  const sockaddr_un address = address_of(path);
  // On Linux the file is made with this mode; elsewhere nobody can connect before it has it.
  ::fchmod(fd.get(), kMode);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    throw_cannot(host, errno_text(errno));
  struct stat made{};
  const bool is_known = ::lstat(path.c_str(), &made) == 0;
  SocketFile own(path, made.st_dev, made.st_ino);
  if (!is_known || ::chmod(path.c_str(), kMode) != 0 || ::listen(fd.get(), kBacklog) != 0)
    throw_cannot(host, errno_text(errno));
  file = std::move(own);
  return fd;
}

UniqueFd connect_to_unix(const std::string& path, int& error) {
  UniqueFd fd = try_open_socket(AF_UNIX, error);
  if (!fd) return fd;
  const sockaddr_un address = address_of(path);
  // It never waits: whoever finds the queue full is told EAGAIN.
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    error = errno;
    return UniqueFd();
  }
  error = 0;
  return fd;
}

std::string why_not_same_user(int fd) {
  if (SocketAddress::local_of(fd).family() != AF_UNIX) return {};
  const int64_t user = peer_user(fd);
  if (user == 0 || user == int64_t{::geteuid()}) return {};
  return user < 0 ? "the system does not say whose process it is"
                  : "it is a process of another user (uid " + std::to_string(user) + ")";
}

}  // namespace rdzv
