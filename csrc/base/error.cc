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

}  // namespace rdzv
