#include "tools/meeting.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace rdzv::tools {
namespace {

bool read_all(int fd, char* to, size_t size) {
  while (size > 0) {
    ssize_t got = ::read(fd, to, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

}  // namespace

bool say(int fd, Said said, Bytes body) {
  std::string out(1, static_cast<char>(said));
  append_little_endian(out, uint64_t{body.size()});
  out += body;
  for (Bytes rest = out; !rest.empty();) {
    ssize_t sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    rest.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool hear(int fd, Said& said, std::string& body) {
  char header[1 + sizeof(uint64_t)];
  if (!read_all(fd, header, sizeof(header))) return false;
  said = static_cast<Said>(header[0]);
  body.resize(load_little_endian<uint64_t>(header + 1));
  return read_all(fd, body.data(), body.size());
}

}  // namespace rdzv::tools
