#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace rdzv {

std::string errno_text(int error) {
  switch (error) {
    case ECONNREFUSED:
      return "connection refused: nothing listens there";
    case ECONNRESET:
    case EPIPE:
      return "the peer closed the connection";
    case ETIMEDOUT:
      return "no answer from the host";
    case EHOSTUNREACH:
    case ENETUNREACH:
      return "no route to the host";
    case EADDRINUSE:
      return "the port is already in use";
    case EADDRNOTAVAIL:
      return "the address does not belong to this machine";
    case EACCES:
    case EPERM:
      return "permission denied";
    case EMFILE:
    case ENFILE:
      return "the limit of open files is reached (ulimit -n)";
    default:
      return std::generic_category().message(error);
  }
}

std::string refusal_text(int error) {
  const std::string text = errno_text(error);
  switch (error) {
    case EMFILE:
      return text + "; raise it for this process, or close files";
    case ENFILE:
      return "this machine has no file descriptor left; raise fs.file-max, or close files";
    case EAGAIN:
      return text +
             "; raise the limit of processes and threads (ulimit -u, or the pids limit of "
             "the container)";
    case ENOSPC:
      return text + "; raise fs.epoll.max_user_watches";
    case ENOMEM:
    case ENOBUFS:
      return text + "; this machine or container is short of memory";
    default:
      return text;
  }
}

}  // namespace rdzv
