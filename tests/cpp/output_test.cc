// The replies of a connection that are not sent yet: small and large ones in order, and values that
// are shared instead of copied.
#include "server/output.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <optional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "net/socket.h"
#include "store/value_bytes.h"
#include "support.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

struct Ends {
  Ends() {
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    near.reset(ends[0]);
    far.reset(ends[1]);
  }
  // What is there, up to `most`.
  std::string receive(size_t most) {
    std::string buffer(most, '\0');
    long got = receive_some(far.get(), buffer.data(), most);
    buffer.resize(got > 0 ? static_cast<size_t>(got) : 0);
    return buffer;
  }
  UniqueFd near;
  UniqueFd far;
};

// Sends to a socket.
auto to(const UniqueFd& fd) {
  return [&fd](std::span<const Bytes> pieces) -> std::optional<size_t> {
    const long sent = send_gathered(fd.get(), pieces);
    if (sent == kBroken) return std::nullopt;
    return sent == kWouldBlock ? 0 : static_cast<size_t>(sent);
  };
}

bool send(Output& output, const UniqueFd& fd, size_t most = SIZE_MAX) {
  return output.send(to(fd), most);
}

SharedBytes shared(std::string bytes) {
  return std::make_shared<const std::string>(std::move(bytes));
}

}  // namespace

TEST_CASE("small and shared bytes leave in the order in which they came") {
  Ends ends;
  Output output;
  output.text() += "a";
  output.append_shared(shared("BB"));
  output.append_shared(shared(""));
  output.append_shared(shared("CCC"));
  output.text() += "dddd";
  output.append_shared(shared("EEEEE"));
  CHECK(output.unsent() == 15);
  REQUIRE(send(output, ends.near));
  CHECK(output.unsent() == 0);
  CHECK(ends.receive(100) == "aBBCCCddddEEEEE");
}

TEST_CASE("what a slow reader gets is what was written, however it is cut") {
  Ends ends;
  Output output;
  std::mt19937 random(7);
  std::string written;
  std::string received;
  for (int round = 0; round < 3000; ++round) {
    // More pieces at once than one system call takes.
    for (size_t pieces = random() % 40; round < 1000 && pieces > 0; --pieces) {
      std::string piece(random() % 3 == 0 ? random() % 30'000 : random() % 100,
                        static_cast<char>('a' + random() % 26));
      written += piece;
      if (random() % 2 == 0) {
        output.text() += piece;
      } else {
        output.append_shared(shared(piece));
      }
    }
    REQUIRE(send(output, ends.near));
    received += ends.receive(random() % 300'000 + 1);
    REQUIRE(output.unsent() <= written.size() - received.size());
  }
  while (output.unsent() > 0 || received.size() < written.size()) {
    REQUIRE(send(output, ends.near));
    received += ends.receive(1 << 20);
  }
  CHECK((received == written));
}

TEST_CASE("shared bytes are let go as soon as they are sent") {
  Ends ends;
  Output output;
  SharedBytes value = shared(std::string(10'000, 'v'));
  output.append_shared(value);
  CHECK(value.use_count() == 2);
  REQUIRE(send(output, ends.near));
  CHECK(value.use_count() == 1);
}

TEST_CASE("a peer that is gone is noticed") {
  Ends ends;
  ends.far.reset();
  Output output;
  output.append_shared(shared("never read"));
  CHECK_FALSE(send(output, ends.near));
}

TEST_CASE("a large value is shared and a small one is not, and writes do not change who has it") {
  const std::string large(ValueBytes::kSharedMin, 'a');
  ValueBytes value{Bytes(large)};
  SharedBytes before = value.shared();
  REQUIRE(before != nullptr);
  CHECK((*before == large));

  value.append("tail");
  CHECK((value == Bytes(large + "tail")));
  CHECK((*before == large));
  value.assign(std::string(large.size(), 'b'));
  CHECK((*before == large));
  CHECK((value == Bytes(std::string(large.size(), 'b'))));

  value.assign("small");
  CHECK(value.shared() == nullptr);
  CHECK((value == Bytes("small")));
  value.append(large);
  REQUIRE(value.shared() != nullptr);
  CHECK((value == Bytes("small" + large)));
  // Nobody else has it now, so that it grows where it is.
  const char* where = value.shared()->data();
  value.assign(large);
  CHECK(value.shared()->data() == where);
  // A value may be set to a part of itself.
  value.assign(Bytes(value).substr(0, 3));
  CHECK((value == Bytes("aaa")));
}

TEST_CASE("what outputs hold: shared bytes once, however often and wherever they are sent") {
  Ends ends;
  MemoryAccount account;
  SharedLedger all(&account);
  Output output(&all);
  const SharedBytes large = shared(std::string(10'000, 'L'));
  const SharedBytes other = shared(std::string(20'000, 'O'));
  for (int i = 0; i < 5; ++i) {
    output.text() += "header";
    output.append_shared(large);
  }
  output.append_shared(other);
  output.append_shared(large);
  {
    Output second(&all);
    second.append_shared(large);
    second.append_shared(other);
    CHECK(second.held() >= 30'000);
    CHECK(account.used() == 30'000);
  }
  CHECK(account.used() == 30'000);
  const size_t once = output.held();
  CHECK(once >= 30'000);
  CHECK(once < 31'000);
  CHECK(output.unsent() == 5 * 6 + 6 * 10'000 + 20'000);
  std::string received;
  while (output.unsent() > 0) {
    REQUIRE(send(output, ends.near));
    CHECK(output.held() <= once);
    received += ends.receive(3'000);
  }
  CHECK(output.held() == 0);
  CHECK(account.used() == 0);
  CHECK(large.use_count() == 1);
}

TEST_CASE("an output that is cleared holds nothing, and can be used again") {
  Ends ends;
  Output output;
  const SharedBytes large = shared(std::string(10'000, 'L'));
  output.text() += std::string(1'000'000, 't');
  output.append_shared(large);
  output.clear();
  CHECK(output.unsent() == 0);
  CHECK(output.held() == 0);
  CHECK(output.text().capacity() < 100);
  CHECK(large.use_count() == 1);
  output.text() += "more";
  REQUIRE(send(output, ends.near));
  CHECK(ends.receive(100) == "more");
}

TEST_CASE("no more is sent at once than was said, in order") {
  Ends ends;
  Output output;
  output.text() += "small";
  output.append_shared(shared(std::string(5000, 'L')));
  output.text() += "end";
  std::string received;
  for (size_t step = 0; output.unsent() > 0; ++step) {
    const size_t before = output.unsent();
    size_t most = 700;
    REQUIRE(output.send(to(ends.near), most));
    REQUIRE(most == 700 - (before - output.unsent()));
    REQUIRE((most == 0 || output.unsent() == 0));
    received += ends.receive(1 << 20);
  }
  CHECK(received == "small" + std::string(5000, 'L') + "end");
}
