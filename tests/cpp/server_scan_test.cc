// A scan as somebody would make it who is at the server and in another name space than his victim,
// or in none: every operation with what he may guess of the victim, random bytes, cuts. What he is
// told must not depend on the victim at all: the same script runs beside it and without it, and
// gets the same bytes, to the last one.
#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/log.h"
#include "core_world.h"
#include "wire/c10d.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Operation;

namespace {

constexpr std::array<Bytes, 8> kGuesses = {"/name", "/queue", "run",      "/torch.rendezvous.run",
                                           "/",     "",       "/barrier", "10.1.0.1"};

// Fills each field of a request with a guess.
class Guess {
 public:
  explicit Guess(std::mt19937& random) : random_(random) {}

  template <native::Number T>
  void field(const char*, T& value) {
    constexpr std::array<uint64_t, 6> kNumbers = {0, 1, 2, 3, 1000, UINT64_MAX};
    value = static_cast<T>(kNumbers[random_() % kNumbers.size()]);
  }
  template <native::Choice T>
  void field(const char*, T& value) {
    value = static_cast<T>(random_() % (native::last_of<T>() + 1U));
  }
  template <native::String T>
  void field(const char*, T& value) {
    value = T(guess());
  }
  void field(const char*, native::Id128& id) { id = {}; }
  template <native::Strings T>
  void field(const char*, T& list) {
    for (Bytes& each : strings_) each = guess();
    list.strings = strings_;
  }
  template <typename T, size_t kMax>
  void field(const char* name, native::List<T, kMax>& list) {
    field(name, list.emplace_back());
  }
  template <typename T>
  void field(const char*, std::optional<T>&) {}
  template <native::Record<native::Put> T>
  void field(const char*, T& record) {
    T::fields(*this, record);
  }

 private:
  Bytes guess() { return kGuesses[random_() % kGuesses.size()]; }

  std::mt19937& random_;
  std::array<Bytes, 4> strings_;
};

std::string drained_log() {
  std::string all;
  while (const auto record = LogQueue::instance().read(Duration::zero()))
    all += record->message + "\n";
  return all;
}

// A job in a name space of its own, with something of everything.
void live(World& world, MemoryPeer& victim) {
  for (const char* key : {"/name", "/other"}) victim.ask(native::SetRequest{{key}, {"secret"}});
  victim.ask(native::QueuePushRequest{{"/queue"}, {"secret item"}});
  victim.ask(native::GetRequest{native::kNoTimeout, {"/awaited"}});
  victim.ask(native::BarrierRequest{native::kNoTimeout, {"/barrier"}, 3, 0});
  victim.ask(native::WatchPrefixRequest{native::kNoTimeout, {"/"}, 0, {}});
  victim.ask(native::JoinRequest{native::kNoTimeout,
                                 {"run"},
                                 {Bytes("secret host"), 1, 0},
                                 {1, 1, 1000, 3'600'000, 3},
                                 0,
                                 500,
                                 1});
  world.turn();
}

struct Way {
  const char* name;
  std::optional<tls::Identity> who;
};

std::vector<Way> ways() {
  using tls::Role;
  return {{"nobody, in the default name space", {}},
          {"a member of another", tls::Identity{true, "b", Role::kMember, "k", {}}},
          {"a reader of another", tls::Identity{true, "b", Role::kReader, "k", {}}}};
}

// All that the attacker was told. `seed`: what he guesses.
std::string scan(World& world, const Way& way, unsigned seed) {
  std::mt19937 random(seed);
  std::string told;
  const auto newcomer = [&](Bytes space) -> MemoryPeer& {
    return *world.peers.emplace_back(
        std::make_unique<MemoryPeer>(world, "10.9.0.9:1", uint8_t{9}, way.who, space));
  };
  const auto say = [&](MemoryPeer& peer, Bytes bytes) {
    if (peer.transport.closed) return;
    world.core.receive(peer.connection(), bytes, world.time);
    world.turn();
    told += peer.transport.read() + "|";
  };
  // Asks for the victim's name space by its name.
  MemoryPeer& asks = newcomer("a");
  say(asks, asks.client.to_send());
  CHECK(asks.transport.closed);
  for (int round = 0; round < 40; ++round) {
    MemoryPeer& peer = newcomer({});
    say(peer, peer.client.to_send());
    uint64_t id = 1;
    native::for_each_request([&]<typename Request>(Request*) {
      Request request;
      Guess guess(random);
      Request::fields(guess, request);
      native::Header header;
      header.operation = static_cast<uint8_t>(Request::Is::kOperation);
      header.channel = static_cast<uint16_t>(random() % 3 == 0 ? random() % 3 : 0);
      header.id = id++;
      std::string frame;
      native::put_frame(frame, header, request);
      say(peer, frame);
    });
    for (int i = 0; i < 20; ++i) {
      std::string bytes(native::kHeaderBytes + random() % 60, '\0');
      for (char& byte : bytes) byte = static_cast<char>(random());
      const auto size = static_cast<uint32_t>(bytes.size() - native::kHeaderBytes);
      bytes.replace(0, 4, Fields().u32(size).bytes);
      bytes[4] = static_cast<char>(random() % (native::kOperationMax + 2));
      say(peer, bytes);
    }
    peer.lose();
    told += peer.transport.read();
  }
  for (int code = 0; code <= static_cast<int>(c10d::Code::kBarrier); ++code) {
    for (int i = 0; i < 4; ++i) {
      MemoryPeer& peer = newcomer({});
      say(peer, c10d_validate());
      const Bytes guess = kGuesses[random() % kGuesses.size()];
      say(peer, c10d_request(static_cast<c10d::Code>(code), {guess, guess, guess}));
      say(peer, c10d_request(static_cast<c10d::Code>(code), {guess}));
      if (!peer.transport.closed) peer.lose();
      told += peer.transport.read();
    }
  }
  world.wait(std::chrono::seconds(20));
  return told;
}

}  // namespace

TEST_CASE("what is told in one name space does not depend on another one, whatever is asked") {
  for (const Way& way : ways()) {
    for (unsigned seed = 1; seed <= 3; ++seed) {
      INFO(way.name);
      World alone;
      World beside;
      MemoryPeer& victim = beside.member("a");
      live(beside, victim);
      const std::string before = [&] {
        std::string state;
        native::put(state,
                    victim.answer<native::SpacesRequest>(victim.ask(native::SpacesRequest{})));
        return state;
      }();
      const std::string told = scan(alone, way, seed);
      CHECK((scan(beside, way, seed) == told));
      CHECK(told.size() > 10'000);
      CHECK(told.find("secret") == std::string::npos);
      // And it has changed nothing there.
      std::string after;
      native::put(after, victim.answer<native::SpacesRequest>(victim.ask(native::SpacesRequest{})));
      CHECK((after == before));
      CHECK(victim.answer<native::TryGetRequest>(victim.ask(native::TryGetRequest{{"/name"}}))
                .value == "secret");
    }
    drained_log();
  }
}

TEST_CASE("a valid session that ends anywhere leaves nothing in its name space") {
  std::string session;
  native::put_preamble(session);
  native::put_request(session, native::HelloRequest{});
  uint64_t id = 1;
  const auto add = [&](const auto& request) {
    native::Header header;
    header.operation = static_cast<uint8_t>(std::remove_cvref_t<decltype(request)>::Is::kOperation);
    header.id = id++;
    native::put_frame(session, header, request);
  };
  add(native::GetRequest{native::kNoTimeout, {"/k"}});
  add(native::SetForRequest{1000, {"/k"}, {"v"}});
  add(native::SubscribeRequest{native::kNoTimeout, {"run"}, {Bytes("n"), 1, 0}, 0, 0, false});
  add(native::WatchPrefixRequest{native::kNoTimeout, {"/"}, 0, {}});
  add(native::BarrierRequest{native::kNoTimeout, {"/b"}, 2, native::kRanklessCaller});
  add(native::DeletePrefixRequest{{"/"}});
  World world;
  MemoryPeer& admin = world.holder("default", tls::Role::kAdmin);
  admin.exchange();
  for (size_t size = 0; size <= session.size(); ++size) {
    MemoryPeer& peer = world.holder("a", size % 2 == 0 ? tls::Role::kMember : tls::Role::kAdmin);
    if (size > 0) peer.send(Bytes(session).substr(0, size));
    peer.lose();
    world.peers.pop_back();
  }
  world.wait(std::chrono::seconds(2));
  MemoryPeer& cleaner = world.holder("a", tls::Role::kMember);
  cleaner.exchange();
  cleaner.ask(native::DeletePrefixRequest{{"/"}});
  cleaner.lose();
  const auto left = admin.answer<native::SpacesRequest>(admin.ask(native::SpacesRequest{true}));
  REQUIRE(left.spaces.size() == 1);
  CHECK(left.spaces.front().name == "default");
  drained_log();
}
