// The watching of a prefix, in memory: what is told, in parts, and after what was forgotten.
#include <doctest/doctest.h>

#include <chrono>
#include <map>
#include <string>

#include "core_world.h"
#include "store/prefix_feeds.h"

using namespace rdzv;
using namespace rdzv::test;
using native::kNoTimeout;
using native::WatchPrefixRequest;
using std::chrono::milliseconds;

namespace {

struct Scene {
  void set(const std::string& key, Bytes value) { writer.ask(native::SetRequest{{key}, {value}}); }
  void erase(const std::string& key) { writer.ask(native::DeleteKeyRequest{{key}}); }

  size_t ask(Bytes prefix, uint32_t timeout_ms = kNoTimeout) {
    return watcher.ask(WatchPrefixRequest{timeout_ms, {prefix}, position, {cursor}});
  }
  // "/p/1=a /p/2-", the second one gone; goes on behind it.
  std::string told(size_t call) {
    const auto reply = watcher.answer<WatchPrefixRequest>(call);
    std::string text = reply.begins ? "all:" : "";
    for (const auto& item : reply.items) {
      if (!text.empty()) text += ' ';
      text += std::string(item.key) + (item.version == 0 ? "-" : "=" + std::string(item.value));
      known[std::string(item.key)] = std::string(item.value);
    }
    position = reply.position;
    cursor = std::string(reply.cursor);
    return text;
  }

  World world;
  MemoryPeer& writer = world.newcomer("10.0.0.1:1");
  MemoryPeer& watcher = world.newcomer("10.0.0.2:1");
  uint64_t position = 0;
  std::string cursor;
  std::map<std::string, std::string> known;
};

}  // namespace

TEST_CASE("watch_prefix: begins with all that is there, and goes on with what changes") {
  Scene scene;
  scene.set("/p/1", "a");
  scene.set("/p/2", "b");
  scene.set("/other", "x");
  CHECK(scene.told(scene.ask("/p/")) == "all: /p/1=a /p/2=b");
  CHECK(scene.cursor.empty());
  const size_t next = scene.ask("/p/");
  scene.set("/other", "y");
  CHECK_FALSE(scene.watcher.has_answer(next));
  scene.set("/p/3", "c");
  CHECK(scene.told(next) == "/p/3=c");
  scene.erase("/p/1");
  scene.set("/p/2", "d");
  CHECK(scene.told(scene.ask("/p/")) == "/p/1- /p/2=d");
}

TEST_CASE("watch_prefix: what changes while nobody asks is told once, as it is then") {
  Scene scene;
  CHECK(scene.told(scene.ask("/p/")) == "all:");
  for (int i = 0; i < 100; ++i) scene.set("/p/k", std::to_string(i));
  scene.set("/p/gone", "x");
  scene.erase("/p/gone");
  CHECK(scene.told(scene.ask("/p/")) == "/p/k=99 /p/gone-");
}

TEST_CASE("watch_prefix: a long list comes in parts, and what changes meanwhile comes behind it") {
  Scene scene;
  const std::string value(2'000, 'v');
  constexpr int kKeys = 1'000;
  for (int i = 0; i < kKeys; ++i) scene.set("/p/" + std::to_string(10'000 + i), value);
  int parts = 0;
  do {
    const std::string told = scene.told(scene.ask("/p/"));
    CHECK(told.starts_with("all:") == (parts == 0));
    CHECK(told.size() <= limits::kWatchAnswerBytes + 2 * value.size());
    ++parts;
    if (parts == 2) {
      scene.set("/p/10000", "early");
      scene.erase("/p/10999");
      scene.set("/p/new", "late");
    }
  } while (!scene.cursor.empty());
  CHECK(parts > 5);
  scene.told(scene.ask("/p/"));
  CHECK(scene.known["/p/10000"] == "early");
  CHECK(scene.known["/p/new"] == "late");
  CHECK(scene.known["/p/10999"] == "");
  CHECK(scene.known.size() == kKeys + 1 - (scene.known.contains("/p/10999") ? 0 : 1));
}

TEST_CASE("watch_prefix: very many changes come in parts") {
  Scene scene;
  scene.told(scene.ask("/p/"));
  const std::string value(2'000, 'v');
  for (int i = 0; i < 500; ++i) scene.set("/p/" + std::to_string(i), value);
  int parts = 0;
  for (size_t before = 0; scene.known.size() < 500; ++parts, before = scene.known.size()) {
    CHECK_FALSE(scene.told(scene.ask("/p/")).starts_with("all:"));
    REQUIRE(scene.known.size() > before);
  }
  CHECK(parts >= 3);
}

TEST_CASE("watch_prefix: who asks for more than is remembered begins anew") {
  Scene scene;
  scene.told(scene.ask("/p/"));
  const std::string name(10'000, 'n');
  scene.set("/p/kept", "x");
  for (int i = 0; i < 200; ++i) {
    scene.set("/p/" + name + std::to_string(i), "x");
    scene.erase("/p/" + name + std::to_string(i));
  }
  CHECK(scene.told(scene.ask("/p/")) == "all: /p/kept=x");
  scene.position -= 1'000'000;  // what another server said
  CHECK(scene.told(scene.ask("/p/")) == "all: /p/kept=x");
}

TEST_CASE("watch_prefix: ends at its timeout, and when it is withdrawn") {
  Scene scene;
  scene.told(scene.ask("/p/"));
  const size_t late = scene.ask("/p/", 50);
  scene.world.wait(milliseconds(50));
  scene.watcher.answer<WatchPrefixRequest>(late, ErrorCode::kTimeout);
  CHECK(scene.watcher.error(late) ==
        "watch_prefix timeout after 0.05 s: nothing has changed under 'p/'");
  const size_t withdrawn = scene.ask("/p/");
  scene.watcher.give_up(withdrawn);
  scene.watcher.exchange();
  scene.set("/p/1", "a");
  CHECK(scene.watcher.reply(withdrawn).outcome != ClientCore::Outcome::kAnswered);
}

TEST_CASE("watch_prefix: more prefixes of one key than are allowed are refused while others wait") {
  Scene scene;
  for (size_t i = 0; i < PrefixFeeds::kDepthMax; ++i) {
    scene.position = 0;
    const std::string prefix = "/" + std::string(i, 'x');
    scene.told(scene.ask(prefix));
    scene.ask(prefix);
  }
  const size_t refused = scene.ask("/" + std::string(1'000, 'x'));
  scene.watcher.answer<WatchPrefixRequest>(refused, ErrorCode::kLimit);
  CHECK(scene.watcher.error(refused).starts_with("watch_prefix: 8 prefixes are watched"));
}

TEST_CASE("watch_prefix: many who watch are each told") {
  Scene scene;
  scene.told(scene.ask("/p/"));
  std::vector<size_t> calls;
  for (int i = 0; i < 1'000; ++i) calls.push_back(scene.ask("/p/"));
  scene.set("/p/1", "a");
  for (size_t call : calls) CHECK(scene.told(call) == "/p/1=a");
}

TEST_CASE("watch_prefix: a large value is told as it is") {
  Scene scene;
  scene.told(scene.ask("/p/"));
  const std::string value(3 << 20, 'L');
  scene.set("/p/1", value);
  scene.set("/p/2", "b");
  CHECK(scene.told(scene.ask("/p/")) == "/p/1=" + value);
  CHECK(scene.told(scene.ask("/p/")) == "/p/2=b");
}

TEST_CASE("watch_prefix: who waits is told of a write that is too large to be remembered") {
  Scene scene;
  scene.told(scene.ask("/p/"));
  const size_t waits = scene.ask("/p/");
  std::vector<std::string> names;
  for (int i = 0; i < 200; ++i)
    names.push_back("/p/" + std::to_string(i) + std::string(10'000, 'n'));
  std::vector<Bytes> pairs;
  for (const std::string& name : names) pairs.insert(pairs.end(), {name, "v"});
  scene.writer.ask(native::MultiSetRequest{{pairs}});
  for (std::string told = scene.told(waits); !scene.cursor.empty();
       told = scene.told(scene.ask("/p/")))
    CHECK(told != "");
  CHECK(scene.known.size() == names.size());
  scene.set("/p/0", "last");
  CHECK(scene.told(scene.ask("/p/")) == "/p/0=last");
}

TEST_CASE("watch_prefix: what all name spaces make the server remember is bounded together") {
  ServerLimits limits;
  limits.watch_bytes = 20'000;
  World world(limits);
  MemoryPeer& a = world.member("a");
  MemoryPeer& b = world.member("b");
  const auto watch = [](MemoryPeer& peer, Bytes prefix, uint64_t position) {
    return peer.ask(WatchPrefixRequest{kNoTimeout, {prefix}, position, {}});
  };
  const auto begin = [&](MemoryPeer& peer, Bytes prefix) {
    return peer.answer<WatchPrefixRequest>(watch(peer, prefix, 0)).position;
  };
  const auto set = [](MemoryPeer& peer, const std::string& key) {
    peer.answer<native::SetRequest>(peer.ask(native::SetRequest{{key}, {"v"}}));
  };
  const auto name = [](int i) { return "/" + std::to_string(1000 + i) + "/"; };
  // Until there is no room for another one: those of `a` are waited for.
  int watched = 0;
  for (;; ++watched) {
    REQUIRE(watched < 1000);
    const size_t first = watch(a, name(watched), 0);
    if (a.reply(first).status != ErrorCode::kOk) {
      CHECK(a.reply(first).status == ErrorCode::kLimit);
      CHECK(a.error(first).find("limits are watch_bytes 20000") != std::string::npos);
      break;
    }
    watch(a, name(watched), a.answer<WatchPrefixRequest>(first).position);
  }
  CHECK(watched > 20);
  const size_t refused = watch(b, "/b/", 0);
  CHECK(b.reply(refused).status == ErrorCode::kLimit);
  // Nothing else is.
  set(b, "/b/1");

  // What changes there has no room: who waits is told, and begins anew if there is room by then.
  const size_t waits = watch(a, name(0), begin(a, name(0)));
  set(a, name(0) + std::string(1000, 'k'));
  CHECK(a.answer<WatchPrefixRequest>(waits).begins);
  // `a` has given one up, and waits for others no more: they go for whoever wants their place.
  a.lose();
  const size_t anew = watch(b, "/b/", 0);
  CHECK(b.answer<WatchPrefixRequest>(anew).items.size() == 1);
}

TEST_CASE("watch_prefix: with no memory left nothing more is remembered, and all else goes on") {
  ServerLimits limits;
  limits.memory_bytes = 30'000;
  World world(limits);
  MemoryPeer& a = world.member("a");
  MemoryPeer& waits = world.member("b");
  waits.ask(native::GetRequest{kNoTimeout, {"/" + std::string(10'000, 'k')}});
  waits.ask(native::GetRequest{kNoTimeout, {"/" + std::string(12'000, 'k')}});
  waits.ask(native::GetRequest{kNoTimeout, {"/" + std::string(13'000, 'k')}});
  const size_t refused = a.ask(WatchPrefixRequest{kNoTimeout, {"/p/"}, 0, {}});
  CHECK(a.reply(refused).status == ErrorCode::kLimit);
  CHECK(a.error(refused).find("memory_bytes 30000") != std::string::npos);
  waits.lose();
  a.answer<WatchPrefixRequest>(a.ask(WatchPrefixRequest{kNoTimeout, {"/p/"}, 0, {}}));
}
