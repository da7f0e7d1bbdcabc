// What a server does with newcomers when it has no descriptor for them. Its accept4 fails as it
// does at the limit of open files (sys_faults.h), so that nothing else in this process is short of
// them.
#include <doctest/doctest.h>
#include <sys/resource.h>

#include <string>

#include "base/error.h"
#include "net/open_files.h"
#include "server/server.h"
#include "support.h"
#include "sys_faults.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

// A server whose next accept finds no descriptor, in a process that cannot raise its limit.
struct Scene {
  Scene() {
    raise_open_files_limit();
    logged("");
    fail_call(Call::kAccept, 0, EMFILE);
  }
  ~Scene() { hold_faults(); }

  Server server{"127.0.0.1", 0};
  Exempt exempt;
};

}  // namespace

TEST_CASE("without a descriptor a native newcomer is refused in words, and the next is served") {
  Scene scene;
  Peer refused(scene.server.port());
  refused.send(native_greeting());
  std::string answer = refused.receive_to_end();
  CHECK(answer.find("no file descriptor left") != std::string::npos);
  CHECK(answer.find("ulimit -n") != std::string::npos);
  CHECK(static_cast<ErrorCode>(answer[5]) == ErrorCode::kLimit);
  NativePeer(scene.server.port()).ping();
  CHECK(logged("new connections are refused") != "");
}

TEST_CASE("without a descriptor a c10d newcomer's connection just ends, and the next is served") {
  Scene scene;
  Peer refused(scene.server.port());
  refused.send(c10d_validate());
  CHECK(refused.receive_to_end() == "");
  C10dPeer(scene.server.port()).ping();
}

TEST_CASE("a newcomer that is refused and says nothing does not keep others out for long") {
  Scene scene;
  Peer silent(scene.server.port());
  CHECK(silent.receive_to_end() == "");
  NativePeer(scene.server.port()).ping();
}

TEST_CASE("a shortage of descriptors is told once, not for each newcomer") {
  Scene scene;
  fail_call(Call::kAccept, 0, EMFILE);
  for (int i = 0; i < 5; ++i) {
    Peer refused(scene.server.port());
    refused.send(native_greeting());
    // An answer to HELLO in any case: an accept that finds nobody may be the one that fails.
    CHECK(refused.receive(native::kHeaderBytes) != "");
    fail_call(Call::kAccept, 0, EMFILE);
  }
  CHECK(logged("new connections are refused") != "");
  CHECK(logged("new connections are refused") == "");
}

TEST_CASE("the capacity of a server is in its log") {
  logged("");
  Server server("127.0.0.1", 0);
  std::string line = logged("room for");
  CHECK(line.find("limit of open files: " + std::to_string(open_files_limit().soft)) !=
        std::string::npos);
}
