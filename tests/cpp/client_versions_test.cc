// The clients' try_get, watch, set_if_version, times to live and delete_prefix, over a real server.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/interrupt.h"
#include "client_scene.h"
#include "fake_server.h"
#include "store/prefix_store.h"

using namespace rdzv;
using namespace rdzv::test;
using Protocol = TCPStore::Protocol;

namespace {

struct Scene {
  std::shared_ptr<TCPStore> host = hosting_store();
  std::shared_ptr<TCPStore> native = client_of(*host);
  std::shared_ptr<TCPStore> c10d = client_of(*host, Protocol::kC10d);
  std::vector<std::shared_ptr<Store>> with_versions = {
      native, std::make_shared<PrefixStore>("job", native)};
  std::vector<std::shared_ptr<Store>> all = {native, c10d,
                                             std::make_shared<PrefixStore>("job/1", native),
                                             std::make_shared<PrefixStore>("job/2", c10d)};
};

}  // namespace

TEST_CASE("try_get tells an empty value from none, and does not wait") {
  Scene scene;
  for (const std::shared_ptr<Store>& store : scene.all) {
    CAPTURE(store->describe());
    CHECK(store->try_get("k").version == 0);
    CHECK(store->try_get("k").value == "");
    store->set("k", "");
    CHECK(store->try_get("k").version != 0);
    CHECK(store->try_get("k").value == "");
    store->set("k", "v");
    CHECK(store->try_get("k").value == "v");
    store->queue_push("q", "item");
    CHECK(store->try_get("q").version == 0);
    store->delete_key("k");
  }
}

TEST_CASE("watch returns each change that it is told of, until the key is gone") {
  Scene scene;
  for (const std::shared_ptr<Store>& store : scene.with_versions) {
    CAPTURE(store->describe());
    constexpr int kChanges = 200;
    std::thread writer([&] {
      for (int i = 1; i <= kChanges; ++i) store->set("k", std::to_string(i));
      // Level-triggered: the last value stays until it was seen.
      store->get("seen", kHang);
      store->delete_key("k");
    });
    Store::Versioned now;
    int last = 0;
    for (;;) {
      Store::Versioned next = store->watch("k", now.version, kHang);
      CHECK(next.version != now.version);
      now = next;
      if (now.version == 0) break;
      CHECK(std::stoi(now.value) > last);
      last = std::stoi(now.value);
      if (last == kChanges) store->set("seen", "");
    }
    writer.join();
    CHECK(now.value == "");
    CHECK(last == kChanges);
  }
}

TEST_CASE("watch times out and says at which version") {
  Scene scene;
  Error error = answered_error_of([&] { scene.native->watch("k", 0, kShort); });
  CHECK(error.code() == ErrorCode::kTimeout);
  CHECK(error.message().starts_with("watch timeout after 0.06 s: key 'k' still has no value (TCP"));
  scene.native->set("k", "v");
  uint64_t version = scene.native->try_get("k").version;
  error = answered_error_of([&] { scene.native->watch("k", version, Duration::zero()); });
  CHECK(contains(error, "key 'k' still has version " + std::to_string(version)));
}

TEST_CASE("an interrupted watch ends; the store goes on") {
  Scene scene;
  static thread_local bool t_interrupted = false;
  set_interrupt_check([] { return t_interrupted; });
  t_interrupted = true;
  CHECK(code_of([&] { scene.native->watch("k", 0, kHang); }) == ErrorCode::kInterrupted);
  CHECK(code_of([&] { scene.native->exchange("x", 0, 2, "", kHang); }) == ErrorCode::kInterrupted);
  t_interrupted = false;
  set_interrupt_check(nullptr);
  scene.native->set("k", "v");
  CHECK(scene.native->watch("k", 0, kHang).value == "v");
}

TEST_CASE("of many that set a version, one wins each time") {
  Scene scene;
  for (const std::shared_ptr<Store>& store : scene.with_versions) {
    CAPTURE(store->describe());
    constexpr int kThreads = 6;
    constexpr int kRounds = 50;
    CHECK(on_threads(kThreads, [&](int) {
            for (int left = kRounds; left > 0;) {
              Store::Versioned now = store->try_get("n");
              int next = now.version == 0 ? 1 : std::stoi(now.value) + 1;
              Store::VersionSet result =
                  store->set_if_version("n", std::to_string(next), now.version);
              expect(result.version != now.version, "the version that is there now");
              if (result.swapped) --left;
            }
          }) == "");
    CHECK(store->get("n", kHang) == std::to_string(kThreads * kRounds));
  }
}

TEST_CASE("a key with a time to live goes, one without any more stays") {
  Scene scene;
  for (const std::shared_ptr<Store>& store : scene.with_versions) {
    CAPTURE(store->describe());
    store->set_for("k", "v", kShort);
    store->set_for("kept", "v", kShort);
    store->set("kept", "w");
    Store::Versioned now = store->try_get("k");
    if (now.version != 0) now = store->watch("k", now.version, kHang);
    CHECK(now.version == 0);
    CHECK(store->get("kept", kHang) == "w");
    store->set_for("k", "v", std::chrono::nanoseconds(1));  // rounded up to what the wire carries
    store->set_for("k", "v", kForever * 2);
    CHECK(store->get("k", kHang) == "v");
    for (Duration ttl : {Duration::zero(), Duration(-1)})
      CHECK(code_of([&] { store->set_for("k", "x", ttl); }) == ErrorCode::kInvalidArgument);
    CHECK(store->get("k", kHang) == "v");
  }
}

TEST_CASE("delete_prefix deletes what begins so, and counts it") {
  Scene scene;
  for (const std::shared_ptr<Store>& store : scene.all) {
    CAPTURE(store->describe());
    std::vector<std::string> keys;
    for (int i = 0; i < 500; ++i) keys.push_back("a/" + std::to_string(i));
    for (const std::string& key : keys) store->set(key, "");
    store->set("ab", "");
    CHECK(store->delete_prefix("a/") == 500);
    CHECK(store->delete_prefix("a/") == 0);
    CHECK(store->list_keys("") == std::vector<std::string>{"ab"});
    CHECK(store->delete_prefix("") == 1);
  }
}

TEST_CASE("delete_prefix leaves the stores' own keys, and other prefixes' keys, alone") {
  Scene scene;
  scene.host->set("other", "v");
  PrefixStore job("job", scene.native);
  job.set("k", "v");
  CHECK(job.delete_prefix("") == 1);
  TCPStore::Options options = options_for(scene.host->port(), kHang);
  options.world_size = 1;
  const std::shared_ptr<TCPStore> counted = TCPStore::open(options);
  CHECK(scene.native->delete_prefix("") == 1);
  CHECK(scene.c10d->delete_prefix("") == 0);
  CHECK(scene.native->num_keys() == 1);  // the count of workers
}

TEST_CASE("over the c10d protocol, what it cannot say is unsupported, with what to do") {
  Scene scene;
  PrefixStore prefixed("job", scene.c10d);
  for (Store* store : {static_cast<Store*>(scene.c10d.get()), static_cast<Store*>(&prefixed)}) {
    for (const Error& error : {
             error_of([&] { store->watch("k", 0, kHang); }),
             error_of([&] { store->set_if_version("k", "", 0); }),
             error_of([&] { store->set_for("k", "", kHang); }),
         }) {
      CHECK(error.code() == ErrorCode::kUnsupported);
      CHECK(contains(error, " on TCPStore 127.0.0.1:"));
      CHECK(contains(error, "the c10d protocol has no such operation; use protocol=\"native\""));
    }
  }
}

TEST_CASE("a server that stops answering times these calls out, too") {
  FakeServer server({[](FakeServer::Link& link) {
    link.greet();
    link.keep_silent();
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  Error error = error_of([&] { store->watch("k", 0, kShort); });
  CHECK(error.code() == ErrorCode::kNoAnswer);
  CHECK(contains(error, "watch of key 'k' on TCPStore 127.0.0.1:"));
  CHECK_FALSE(contains(error, "applied"));
  store->set_timeout(kShort);
  CHECK_FALSE(contains(error_of([&] { store->try_get("k"); }), "applied"));
  for (const Error& write : {
           error_of([&] { store->set_if_version("k", "", 1); }),
           error_of([&] { store->set_for("k", "", kHang); }),
           error_of([&] { store->delete_prefix("k"); }),
       }) {
    CHECK(write.code() == ErrorCode::kNoAnswer);
    // The connection is suspected by then, so that they wait for a better one.
    CHECK((contains(write, "it was not sent") ||
           contains(write, "it may or may not have been applied")));
  }
  CHECK(server.links() == 1);
}

TEST_CASE("of these calls, a write that was on its way when the connection broke is not repeated") {
  FakeServer server({[](FakeServer::Link& link) {
    link.greet();
    link.read_some();
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  for (const Error& error : {
           error_of([&] { store->set_if_version("k", "", 1); }),
           error_of([&] { store->set_for("k", "", kHang); }),
           error_of([&] { store->delete_prefix("k"); }),
       }) {
    CHECK(error.code() == ErrorCode::kConnection);
    CHECK(contains(error, "it may or may not have been applied"));
  }
  CHECK(server.links() == 3);
}

TEST_CASE("answers to these calls that cannot be read are errors of the protocol") {
  FakeServer server({[](FakeServer::Link& link) {
    link.greet();
    for (uint64_t id = 1; link.read_some(); ++id) {
      std::string answer = native_frame(native::Operation::kWatch, id, "short");
      answer[4] = static_cast<char>(answer[4] | static_cast<char>(native::kReplyBit));
      link.write(answer);
    }
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  for (const Error& error : {
           error_of([&] { store->try_get("k"); }),
           error_of([&] { store->watch("k", 0, kHang); }),
           error_of([&] { store->set_if_version("k", "", 0); }),
           error_of([&] { store->delete_prefix("k"); }),
           error_of([&] { store->exchange("k", 0, 3, "", kHang); }),
       }) {
    CHECK(error.code() == ErrorCode::kProtocol);
  }
  CHECK(server.links() == 1);
}
