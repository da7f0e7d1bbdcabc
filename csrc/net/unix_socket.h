// Unix sockets, as hosts of the form "unix:///path": for processes of one user on one machine. The
// file has mode 0600, and either end looks whose process the other one is. Any thread.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "net/address.h"

namespace rdzv {

bool is_unix_host(const std::string& host);
// The path of such a host. Throws kInvalidArgument: it is not absolute, or too long for a socket.
std::string unix_path(const std::string& host);

// The file of a listening socket, which goes with this object, unless another one is there by then.
class SocketFile {
 public:
  SocketFile() = default;
  SocketFile(std::string path, dev_t device, ino_t number)
      : path_(std::move(path)), device_(device), number_(number) {}
  SocketFile(SocketFile&& other) noexcept;
  SocketFile& operator=(SocketFile&& other) noexcept;
  ~SocketFile() { remove(); }

  void remove();
  // It is somebody else's: a forked child's copy is its parent's.
  void let_go() { path_.clear(); }

 private:
  std::string path_;  // empty: none
  dev_t device_ = 0;
  ino_t number_ = 0;
};

// Listens at the path. The file of a server that has died is replaced, under a lock on the folder:
// of two that begin at once, one is told that the other one is there. Throws kAddressInUse,
// kConnection, kInvalidArgument.
UniqueFd listen_on_unix(const std::string& host, SocketFile& file);
// On failure returns an empty descriptor, and `error` is the errno.
UniqueFd connect_to_unix(const std::string& path, int& error);

// Why a connected socket's other end is not to be trusted; empty: its process is this user's, or
// root's, or the socket is no Unix socket.
std::string why_not_same_user(int fd);

}  // namespace rdzv
