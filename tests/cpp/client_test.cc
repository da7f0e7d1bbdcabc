// Stores used by many threads at once: what one of them does must neither hold up nor disturb the
// others. Run under ThreadSanitizer too.
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "client/tcp_store.h"
#include "client_scene.h"
#include "fake_server.h"
#include "store/hash_store.h"
#include "store/prefix_store.h"
#include "support.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

constexpr int kThreads = 8;

std::vector<std::shared_ptr<Store>> every_store() {
  auto host = hosting_store();
  auto hash = std::make_shared<HashStore>();
  return {hash, host, std::make_shared<PrefixStore>("job/1", hash),
          std::make_shared<PrefixStore>("job/1", host)};
}

// Every operation, on keys of this thread and on shared ones.
void use(Store& store, int thread, int rounds) {
  std::string own = "own/" + std::to_string(thread);
  for (int round = 0; round < rounds; ++round) {
    std::string value = std::to_string(round);
    store.set(own, value);
    expect(store.get(own, kHang) == value, "get what was set");
    store.append(own, "+");
    expect(store.get(own, kHang) == value + "+", "get what was appended");
    store.add("sum", 1);
    for (Store::Exchange now{}; !now.swapped;) {
      std::string before(now.value.view());
      std::string next = now.exists ? std::to_string(std::stoi(before) + 1) : "1";
      now = store.compare_exchange("swaps", before, next);
    }
    std::string other = own + "/other";
    store.multi_set({own, "1", other, "2"});
    std::vector<std::string> both = store.multi_get({own, other}, kHang);
    expect(both == std::vector<std::string>{"1", "2"}, "multi_get of what was set");
    expect(store.list_keys(own).size() == 2, "list_keys of own keys");
    expect(store.check({own, other}), "check of own keys");
    expect(store.delete_key(other), "delete of an own key");
    expect(!store.check({own, other}), "check after delete");
    Store::Versioned now = store.try_get(own);
    expect(now.value == "1", "try_get of an own key");
    Store::VersionSet set = store.set_if_version(own, "3", now.version);
    expect(set.swapped, "set_if_version of an own key");
    expect(store.watch(own, now.version, kHang).version == set.version, "watch of an own key");
    store.set_for(other, "4", std::chrono::milliseconds(round % 3 + 1));
    Store::Versioned timed = store.try_get(other);
    if (timed.version != 0) store.watch(other, timed.version, kHang);
    expect(store.try_get(other).version == 0, "a key whose time is over");
    store.set(other, "5");
    expect(store.delete_prefix(other) == 1, "delete_prefix of an own key");
    store.wait({own, "sum"}, kHang);
    expect(store.num_keys() >= 3, "num_keys counts all");
  }
}

}  // namespace

TEST_CASE("eight threads use one store at once") {
  constexpr int kRounds = 100;
  for (const std::shared_ptr<Store>& store : every_store()) {
    CAPTURE(store->describe());
    CHECK(on_threads(kThreads, [&](int i) { use(*store, i, kRounds); }) == "");
    CHECK(store->add("sum", 0) == kThreads * kRounds);
    CHECK(store->get("swaps", kHang) == std::to_string(kThreads * kRounds));
  }
}

TEST_CASE("eight clients of one server see one store") {
  constexpr int kRounds = 100;
  auto host = hosting_store();
  CHECK(on_threads(kThreads, [&](int i) { use(*client_of(*host), i, kRounds); }) == "");
  CHECK(host->add("sum", 0) == kThreads * kRounds);
}

TEST_CASE("a value that comes wakes all threads that wait for it") {
  for (const std::shared_ptr<Store>& store : every_store()) {
    CAPTURE(store->describe());
    CHECK(on_threads(kThreads, [&](int i) {
            for (int round = 0; round < 50; ++round) {
              std::string key = "round/" + std::to_string(round);
              if (round % kThreads == i) store->set(key, "v");
              expect(store->get(key, kHang) == "v", "get of " + key);
            }
          }) == "");
  }
}

TEST_CASE("threads that time out do not disturb those that wait or work") {
  for (const std::shared_ptr<Store>& store : every_store()) {
    CAPTURE(store->describe());
    std::atomic<int> patient{0};
    CHECK(on_threads(kThreads, [&](int i) {
            if (i == 0) {
              expect(store->get("late", kHang) == "v", "the patient one");
              ++patient;
            } else if (i < 4) {
              for (int round = 0; round < 20; ++round) {
                Duration timeout = std::chrono::milliseconds(round % 3);
                ErrorCode code = code_of([&] { store->get("never", timeout); });
                expect(code == ErrorCode::kTimeout, "a timeout");
              }
            } else {
              use(*store, i, 20);
            }
            if (store->add("done", 1) == kThreads - 1) store->set("late", "v");
          }) == "");
    CHECK(patient == 1);
  }
}

TEST_CASE("large values of several threads share a connection whole") {
  auto host = hosting_store();
  auto client = client_of(*host);
  constexpr size_t kLarge = 3 * 1024 * 1024;
  CHECK(on_threads(kThreads, [&](int i) {
          std::string key = "large/" + std::to_string(i);
          std::string value(kLarge + static_cast<size_t>(i), static_cast<char>('a' + i));
          for (int round = 0; round < 3; ++round) {
            client->set(key, value);
            expect(client->get(key, kHang) == value, "get of " + key);
          }
        }) == "");
}

namespace {

thread_local bool t_interrupted = false;
std::atomic<int> g_interrupted{0};

}  // namespace

TEST_CASE("an interrupted thread stops; those that share its store go on") {
  set_interrupt_check([] { return t_interrupted; });
  for (const std::shared_ptr<Store>& store : every_store()) {
    CAPTURE(store->describe());
    g_interrupted = 0;
    CHECK(on_threads(kThreads, [&](int i) {
            if (i % 2 == 0) {
              t_interrupted = true;
              ErrorCode code = code_of([&] { store->get("late", kHang); });
              t_interrupted = false;
              expect(code == ErrorCode::kInterrupted, "interrupted");
              if (++g_interrupted == kThreads / 2) store->set("late", "v");
            } else {
              expect(store->get("late", kHang) == "v", "not interrupted");
            }
          }) == "");
  }
  set_interrupt_check(nullptr);
}

TEST_CASE("a store may be closed while others use the server") {
  auto host = hosting_store();
  CHECK(on_threads(kThreads, [&](int i) {
          for (int round = 0; round < 10; ++round) {
            auto client = client_of(*host);
            client->add("sum", 1);
            client->close();
            ErrorCode code = code_of([&] { client->add("sum", 1); });
            expect(code == ErrorCode::kClosed, "closed " + std::to_string(i));
          }
        }) == "");
  CHECK(host->add("sum", 0) == kThreads * 10);
}

TEST_CASE("errors of the server reach the caller with what it asked for") {
  auto host = hosting_store();
  host->set("word", "word");
  CHECK(code_of([&] { host->add("word", 1); }) == ErrorCode::kNotANumber);
  CHECK(code_of([&] { host->set(std::string(20'000, 'k'), ""); }) == ErrorCode::kLimit);
  try {
    host->get("never", std::chrono::milliseconds(20));
    FAIL("got what is not there");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kTimeout);
    CHECK(error.message().starts_with("get timeout after 0.02 s: nobody has set key 'never'"));
  }
}

TEST_CASE("multi-tenant stores of one port share a server, which lives as long as one of them") {
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.is_master = true;
  options.multi_tenant = true;
  auto first = TCPStore::open(options);
  options.port = first->port();
  auto second = TCPStore::open(options);
  first->set("k", "v");
  first.reset();
  CHECK(second->get("k", kHang) == "v");
  second.reset();
  CHECK(TCPStore::open(options)->num_keys() == 0);
}

TEST_CASE("the host waits for its workers") {
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.is_master = true;
  options.world_size = 3;
  options.timeout = std::chrono::milliseconds(30);
  Error seen = error_of([&] { TCPStore::open(options); });
  // On a busy machine, connecting may take all of the time.
  while (seen.code() == ErrorCode::kNoAnswer) {
    options.timeout *= 2;
    seen = error_of([&] { TCPStore::open(options); });
  }
  CHECK(seen.code() == ErrorCode::kTimeout);
  CHECK(seen.message().find("1 of 3 workers connected") != std::string::npos);
}
