// A client whose server misbehaves: never answers, hangs up, is something else, comes back empty.
#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>

#include "base/error.h"
#include "client/tcp_store.h"
#include "fake_server.h"
#include "net/listen.h"
#include "support.h"

using namespace rdzv;
using namespace rdzv::test;

TEST_CASE("a server that accepts and keeps silent is a timeout") {
  FakeServer server({[](Link& link) { link.keep_silent(); }});
  Instant begin = now();
  Error error = error_of([&] { TCPStore::open(options_for(server.port(), kShort)); });
  CHECK(error.code() == ErrorCode::kNoAnswer);
  CHECK(contains(error, "accepted the connection but did not answer within 0.06 s"));
  CHECK(now() - begin >= kShort);
}

TEST_CASE("a port where nobody listens is tried until the time is over") {
  uint16_t port = listen_on("127.0.0.1", 0).front().address.port();
  // On a busy machine the first try may not be over within so little.
  Error error(ErrorCode::kOk, "");
  for (Duration time = kShort; time < kHang; time *= 2) {
    error = error_of([&] { TCPStore::open(options_for(port, time)); });
    if (contains(error, "refused")) break;
  }
  CHECK(error.code() == ErrorCode::kConnection);
  CHECK(contains(error, "connection refused: nothing listens there"));
}

TEST_CASE("a server that stops answering times every call out, and says what may have happened") {
  FakeServer server({[](Link& link) {
    link.greet();
    link.keep_silent();
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  store->set_timeout(kShort);
  Error error = error_of([&] { store->set("k", "v"); });
  CHECK(error.code() == ErrorCode::kNoAnswer);
  CHECK(contains(error, "set of key 'k' on TCPStore 127.0.0.1:"));
  CHECK(contains(error, "it may or may not have been applied"));
  error = error_of([&] { store->get("k", kShort); });
  CHECK(error.code() == ErrorCode::kNoAnswer);
  CHECK_FALSE(contains(error, "applied"));
  CHECK(error_of([&] { store->wait({"k"}, Duration::zero()); }).code() == ErrorCode::kNoAnswer);
  CHECK(error_of([&] { store->ping(); }).code() == ErrorCode::kNoAnswer);
  CHECK(server.links() == 1);
}

TEST_CASE("a server that reads nothing lets no call take longer than its timeout") {
  FakeServer server({[](Link& link) {
    link.greet();
    link.wait_for_end();
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  store->set_timeout(kShort);
  std::string value(16 * 1024 * 1024, 'v');
  Error error = error_of([&] { store->set("large", value); });
  CHECK(error.code() == ErrorCode::kNoAnswer);
  CHECK(contains(error, "it may or may not have been applied"));
  error = error_of([&] { store->set("k", "v"); });  // behind what was sent in part
  CHECK(error.code() == ErrorCode::kNoAnswer);
  CHECK(contains(error, "it was not sent"));
}

TEST_CASE("a server that is something else is named as such") {
  FakeServer http({[](Link& link) {
    link.read_some();
    link.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    link.keep_silent();
  }});
  Error error = error_of([&] { TCPStore::open(options_for(http.port(), kHang)); });
  CHECK(error.code() == ErrorCode::kProtocol);
  CHECK(contains(error, "is not a rendezvous store: it answered 'HTTP/1.1 400"));

  FakeServer rude({[](Link& link) { link.read_some(); }});
  error = error_of([&] { TCPStore::open(options_for(rude.port(), kHang)); });
  CHECK(error.code() == ErrorCode::kProtocol);
  CHECK(contains(error, "closes them without an answer"));
}

TEST_CASE("a server that hangs up while it starts is tried again") {
  FakeServer server({[](Link& link) { link.read_some(); },
                     [](Link& link) {
                       link.greet();
                       link.keep_silent();
                     }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  CHECK(server.links() == 2);
}

TEST_CASE("a write that was on its way when the connection broke is not sent again") {
  FakeServer server({[](Link& link) {
    link.greet();
    link.read_some();
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  Error error = error_of([&] { store->add("n", 1); });
  CHECK(error.code() == ErrorCode::kConnection);
  CHECK(contains(error, "the connection was lost"));
  CHECK(contains(error, "it may or may not have been applied"));
  CHECK(server.links() == 1);
}

TEST_CASE("a read that was on its way when the connection broke is sent again") {
  std::atomic<int> asked{0};
  FakeServer server({[&](Link& link) {
    link.greet();
    link.read_some();
    if (++asked < 3) return;
    // Ids go on growing over the connections of a session.
    std::string answer = native_frame(native::Operation::kNumKeys, 3, Fields().u64(42).bytes);
    answer[4] = static_cast<char>(answer[4] | static_cast<char>(native::kReplyBit));
    link.write(answer);
    link.keep_silent();
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  CHECK(store->num_keys() == 42);
  CHECK(server.links() == 3);
}

TEST_CASE("an item that comes when its call has been given up goes back to its queue") {
  std::promise<std::string> pushed;
  FakeServer server({[&](Link& link) {
    link.greet();
    const auto answer = [&](native::Operation operation, uint64_t id, const Fields& body) {
      std::string frame = native_frame(operation, id, body.bytes);
      frame[4] = static_cast<char>(frame[4] | static_cast<char>(native::kReplyBit));
      link.write(frame);
    };
    uint64_t pop = 0;
    std::string in;
    while (link.read_some(&in)) {
      native::Frame frame;
      while (native::next_frame(in, frame) == native::Progress::kTaken) {
        const auto operation = static_cast<native::Operation>(frame.header.operation);
        if (operation == native::Operation::kQueuePop) pop = frame.header.id;
        // The answer was on its way when the client took its word back.
        if (operation == native::Operation::kCancel)
          answer(native::Operation::kQueuePop, pop, Fields().string32("item"));
        if (operation == native::Operation::kNumKeys)
          answer(operation, frame.header.id, Fields().u64(0));
        if (operation == native::Operation::kQueuePush) pushed.set_value(std::string(frame.body));
        in.erase(0, native::kHeaderBytes + frame.body.size());
      }
    }
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  CHECK(error_of([&] { store->queue_pop("q", true, kShort); }).code() == ErrorCode::kNoAnswer);
  CHECK(store->num_keys() == 0);  // whoever calls next reads what has come
  CHECK(pushed.get_future().get() == Fields().string32("/q").string32("item").bytes);
}

TEST_CASE("an answer that cannot be read is an error of the protocol") {
  FakeServer server({[](Link& link) {
    link.greet();
    for (uint64_t id = 1; link.read_some(); ++id) {
      std::string answer = native_frame(native::Operation::kNumKeys, id, "short");
      answer[4] = static_cast<char>(answer[4] | static_cast<char>(native::kReplyBit));
      link.write(answer);
    }
  }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  CHECK(error_of([&] { store->num_keys(); }).code() == ErrorCode::kProtocol);
  CHECK(error_of([&] { store->list_keys(""); }).code() == ErrorCode::kProtocol);
  CHECK(error_of([&] { store->multi_get({"a", "b"}, kHang); }).code() == ErrorCode::kProtocol);
  CHECK(error_of([&] { store->get("a", kHang); }).code() == ErrorCode::kProtocol);
  CHECK(server.links() == 1);
}

TEST_CASE("bytes that are no frame break the connection; the next call makes a new one") {
  FakeServer server({[](Link& link) {
                       link.greet();
                       link.read_some();
                       link.write("HTTP/1.1 500 Internal Server Error\r\n\r\n");
                       link.keep_silent();
                     },
                     [](Link& link) {
                       link.greet();
                       link.keep_silent();
                     }});
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(server.port(), kHang));
  Error error = error_of([&] { store->set("k", "v"); });
  CHECK(error.code() == ErrorCode::kConnection);
  CHECK(contains(error, "the server sent something that is not a reply"));
  store->set_timeout(kShort);
  CHECK(error_of([&] { store->set("k", "v"); }).code() == ErrorCode::kNoAnswer);
  CHECK(server.links() == 2);
}

TEST_CASE("a server that was restarted is told once, and used from then on") {
  auto server = std::make_unique<Server>("127.0.0.1", 0);
  uint16_t port = server->port();
  const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(port, kHang));
  store->set("k", "v");
  server.reset();
  server = std::make_unique<Server>("127.0.0.1", port);
  CHECK(error_of([&] { store->num_keys(); }).code() == ErrorCode::kRestarted);
  CHECK(store->num_keys() == 0);
  store->set("k", "v");
  CHECK(store->get("k", kHang) == "v");
}

TEST_CASE("a client may come before its server") {
  uint16_t port = listen_on("127.0.0.1", 0).front().address.port();
  std::atomic<int64_t> keys{-1};
  std::thread client([&] {
    const std::shared_ptr<TCPStore> store = TCPStore::open(options_for(port, kHang));
    keys = store->num_keys();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  Server server("127.0.0.1", port);
  client.join();
  CHECK(keys == 0);
}
