// A store server as a program, so that what Python tests send to a server can be sent to one that
// was built with sanitizers. Prints its port, and serves until its standard input ends.
#include <cstdio>

#include "server/server.h"

int main() {
  rdzv::Server server("127.0.0.1", 0);
  std::printf("%d\n", int{server.port()});
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
