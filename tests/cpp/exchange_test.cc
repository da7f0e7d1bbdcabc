// exchange of the stores: over either protocol, and both of them in one exchange.
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "client_scene.h"
#include "fake_server.h"
#include "file_support.h"
#include "store/exchange.h"
#include "store/file_store.h"
#include "store/hash_store.h"
#include "store/prefix_store.h"

using namespace rdzv;
using namespace rdzv::test;
using Protocol = TCPStore::Protocol;

namespace {

using AllValues = std::vector<std::string>;

AllValues all_of(std::vector<TakenBytes> taken) {
  return {std::make_move_iterator(taken.begin()), std::make_move_iterator(taken.end())};
}

AllValues values_of(int world_size) {
  AllValues values;
  for (int rank = 0; rank < world_size; ++rank) values.push_back("v" + std::to_string(rank));
  return values;
}

struct Scene {
  std::shared_ptr<TCPStore> host = hosting_store();
  std::shared_ptr<TCPStore> native = client_of(*host);
  std::shared_ptr<TCPStore> c10d = client_of(*host, Protocol::kC10d);

  // In the way of the two, in turn.
  AllValues exchange(int way, Bytes key, int64_t rank, int64_t world_size, Bytes value,
                     Duration timeout) {
    return all_of((way % 2 == 0 ? native : c10d)->exchange(key, rank, world_size, value, timeout));
  }
};

}  // namespace

TEST_CASE("everybody gets the values of all, in whichever way they exchange") {
  Scene scene;
  constexpr int kWorld = 9;
  for (int round = 0; round < 10; ++round) {
    CHECK(on_threads(kWorld, [&](int rank) {
            std::string key = "round/" + std::to_string(round);
            std::string value = "v" + std::to_string(rank);
            AllValues values =
                scene.exchange(rank + round, key, rank, kWorld, value, std::chrono::hours(1));
            expect(values == values_of(kWorld), "the values of all");
          }) == "");
  }
  CHECK(scene.host->num_keys() == 10 * (kWorld + 2));
  CHECK(scene.host->get("round/0", kHang) == std::to_string(kWorld));
  CHECK(scene.host->get("round/0/8", kHang) == "v8");
}

TEST_CASE("everybody gets the values of all in a process and through a file, too") {
  constexpr int kWorld = 6;
  Folder folder;
  auto hash = std::make_shared<HashStore>();
  for (bool file : {false, true}) {
    CAPTURE(file);
    CHECK(on_threads(kWorld, [&](int rank) {
            std::shared_ptr<Store> store = hash;
            if (file) store = std::make_shared<FileStore>(options(folder.file()));
            PrefixStore job("job", store);
            for (Bytes key : {"first", "second"}) {
              AllValues values =
                  all_of(job.exchange(key, rank, kWorld, "v" + std::to_string(rank), kHang));
              expect(values == values_of(kWorld), "the values of all");
            }
          }) == "");
  }
  for (int again = 0; again < 2; ++again) {
    Error error = error_of([&] { hash->exchange("late", 2, 4, "", kShort); });
    CHECK(error.code() == ErrorCode::kTimeout);
    CHECK(contains(error, "3 of 4 ranks have not arrived at key 'late': 0, 1, 3 (HashStore)"));
  }
  CHECK(hash->get("late", kHang) == "1");
}

TEST_CASE("an exchange through a prefix meets those of its prefix") {
  Scene scene;
  PrefixStore native("job", scene.native);
  PrefixStore c10d("job", scene.c10d);
  CHECK(on_threads(3, [&](int rank) {
          AllValues values =
              all_of(rank == 0   ? native.exchange("x", 0, 3, "v0", kHang)
                     : rank == 1 ? c10d.exchange("x", 1, 3, "v1", kHang)
                                 : scene.native->exchange("job/x", 2, 3, "v2", kHang));
          expect(values == values_of(3), "the values of all");
        }) == "");
}

TEST_CASE("an exchange that times out names the ranks that are missing; coming again counts once") {
  for (int way = 0; way < 2; ++way) {
    CAPTURE(way);
    Scene scene;
    auto error_at = [&](int64_t rank, Duration timeout) {
      return answered_error_of([&] { scene.exchange(way, "x", rank, 5, "", timeout); });
    };
    for (int64_t rank : {3, 0, 3}) {
      Error error = error_at(rank, Duration::zero());
      CHECK(error.code() == ErrorCode::kTimeout);
      CHECK(error.message().starts_with("exchange timeout after 0"));
    }
    CHECK(contains(error_at(3, kShort),
                   " s: 3 of 5 ranks have not arrived at key 'x': 1, 2, 4 (TCPStore 127."));
    // A c10d client that a slow server keeps from its slot counts again.
    int64_t count = scene.host->add("x", 0);
    CHECK((count == 2 || (way == 1 && count > 2)));
    for (int64_t rank : {2, 4}) error_at(rank, Duration::zero());
    CHECK(scene.exchange(way, "x", 1, 5, "last", kHang) == AllValues{"", "last", "", "", ""});
  }
}

TEST_CASE("an exchange refuses what cannot be, before it changes anything") {
  Scene scene;
  for (int way = 0; way < 2; ++way) {
    CAPTURE(way);
    auto code = [&](int64_t rank, int64_t world_size) {
      return code_of([&] { scene.exchange(way, "x", rank, world_size, "", kHang); });
    };
    CHECK(code(0, 0) == ErrorCode::kInvalidArgument);
    CHECK(code(2, 2) == ErrorCode::kInvalidArgument);
    CHECK(code(-1, 2) == ErrorCode::kInvalidArgument);
    CHECK(code(0, 1'000'000) == ErrorCode::kLimit);
    std::string key(16 * 1024, 'k');
    CHECK(code_of([&] { scene.exchange(way, key, 0, 1, "", kHang); }) == ErrorCode::kLimit);
  }
  CHECK(scene.host->num_keys() == 0);
}

TEST_CASE("values may be anything: empty, large, with zeros") {
  Scene scene;
  const AllValues values = {"", std::string(3'000'000, 'l'), std::string("\0\xFF/\n", 4)};
  CHECK(on_threads(3, [&](int rank) {
          Bytes value = values[static_cast<size_t>(rank)];
          expect(scene.exchange(rank, "x", rank, 3, value, kHang) == values, "the values");
        }) == "");
}

TEST_CASE("an exchange with a server that keeps silent times out, over either protocol") {
  for (Protocol protocol : {Protocol::kNative, Protocol::kC10d}) {
    FakeServer server({[&](FakeServer::Link& link) {
      protocol == Protocol::kNative ? link.greet() : link.greet_c10d();
      link.keep_silent();
    }});
    TCPStore::Options options = options_for(server.port(), kHang);
    options.protocol = protocol;
    const std::shared_ptr<TCPStore> store = TCPStore::open(options);
    // The store's own timeout plays no part.
    Error error = error_of([&] { store->exchange("x", 0, 2, "v", kShort); });
    CHECK(error.code() == ErrorCode::kNoAnswer);
    CHECK(contains(error, "exchange of key 'x' on TCPStore 127.0.0.1:"));
    CHECK(contains(error, "no answer within 0.06 s"));
  }
}

TEST_CASE("an exchange that was on its way when the connection broke is sent again") {
  std::atomic<int> asked{0};
  FakeServer server({[&](FakeServer::Link& link) {
    link.greet();
    link.read_some();
    if (++asked < 3) return;
    // Ids go on growing over the connections of a session.
    std::string answer =
        native_frame(native::Operation::kExchange, 3, Fields().u32(1).string32("v").bytes);
    answer[4] = static_cast<char>(answer[4] | static_cast<char>(native::kReplyBit));
    link.write(answer);
    link.keep_silent();
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  CHECK(all_of(store->exchange("x", 0, 1, "v", kHang)) == AllValues{"v"});
  CHECK(server.links() == 3);
}

TEST_CASE("the texts of an exchange's timeout") {
  CHECK(exchange_timeout_text("k", {1, 4, 6}, 8, std::chrono::milliseconds(2500)) ==
        "exchange timeout after 2.5 s: 3 of 8 ranks have not arrived at key 'k': 1, 4, 6");
  std::vector<int64_t> many;
  for (int64_t rank = 0; rank < 20; ++rank) many.push_back(rank);
  CHECK(exchange_timeout_text("k", many, 30, kShort).ends_with(", 18, 19"));
  many.push_back(20);
  CHECK(exchange_timeout_text("k", many, 30, kShort).ends_with(", 18, 19 and 1 more"));
}
