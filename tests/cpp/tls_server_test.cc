// Servers and stores with a token, over real sockets: who gets in, what the others are told, and
// that nothing above TLS notices it.
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "client/tcp_store.h"
#include "server/server.h"
#include "server/suspects.h"
#include "support.h"
#include "tls/keeper.h"
#include "tls_scene.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

using Side = tls::Keeper::Side;

std::shared_ptr<tls::Keeper> server_keeper(const std::string& tokens = kSecret) {
  return std::make_shared<tls::Keeper>(Side::kServer, tls::Texts{tokens});
}
std::shared_ptr<tls::Keeper> client_keeper(const std::string& tokens = kSecret) {
  return std::make_shared<tls::Keeper>(Side::kClient, tls::Texts{tokens});
}

struct SecureScene {
  explicit SecureScene(std::shared_ptr<tls::Keeper> asks = server_keeper())
      : keeper(std::move(asks)), server("127.0.0.1", 0, {}, false, {keeper}) {}

  TCPStore::Options options(std::shared_ptr<tls::Keeper> has = client_keeper()) const {
    TCPStore::Options made;
    made.host = "127.0.0.1";
    made.port = server.port();
    made.timeout = kHang;
    made.keeper = std::move(has);
    return made;
  }
  std::shared_ptr<TCPStore> store(std::shared_ptr<tls::Keeper> has = client_keeper()) const {
    return TCPStore::open(options(std::move(has)));
  }

  std::shared_ptr<tls::Keeper> keeper;
  Server server;
};

// Who is refused is told so at once, and does not try for as long as it has time.
std::string refusal(const TCPStore::Options& options) {
  try {
    TCPStore::open(options);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kRefused);
    return error.message();
  }
  FAIL("it got in");
  return {};
}

// Waits for a record of the log that a server writes after the peer has been told.
std::string awaited_log(const std::string& part) {
  for (const Deadline deadline = Deadline::after(kHang); !deadline.passed();) {
    const std::optional<LogRecord> record =
        LogQueue::instance().read(std::chrono::milliseconds(100));
    if (record && contains(record->message, part)) return record->message;
  }
  return {};
}

// A client's end of TLS over a raw socket.
struct SecurePeer {
  explicit SecurePeer(uint16_t port, const std::string& token = kSecret)
      : socket(port), session(tls::Credentials::for_client(with_token(token))->begin()) {}

  void send(size_t piece = SIZE_MAX) {
    const std::string out(session->to_send());
    session->on_sent(out.size());
    for (size_t at = 0; at < out.size(); at += std::min(piece, out.size() - at))
      socket.send(Bytes(out).substr(at, piece));
  }
  // Until so much was said.
  std::string receive(size_t count) {
    while (heard.size() < count && session->state() < tls::Session::State::kEnded)
      session->receive(socket.receive(1), heard);
    return heard.substr(0, count);
  }
  void open(size_t piece = SIZE_MAX) {
    send(piece);
    while (session->state() == tls::Session::State::kHandshake)
      session->receive(socket.receive(1), heard);
    send(piece);
  }

  Peer socket;
  std::unique_ptr<tls::Session> session;
  std::string heard;
};

}  // namespace

TEST_CASE("a store with the server's token works as one without") {
  SecureScene scene;
  const auto one = scene.store();
  const auto other = scene.store();
  one->set("key", "value");
  CHECK(other->get("key", kHang) == "value");
  CHECK(one->add("number", 5) == 5);
  CHECK(other->observed_address() == "127.0.0.1");
  // More than any buffer on the way, in both directions.
  std::string large(24 << 20, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761u >> 13);
  one->set("large", large);
  CHECK((other->get("large", kHang) == large));
  // Many at once, of which one waits.
  std::thread waiter([&] { other->wait({"late"}, kHang); });
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string name = std::to_string(t) + "/" + std::to_string(i);
        one->set(name, name);
        if (other->get(name, kHang) == name) ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  one->set("late", "");
  waiter.join();
  CHECK(good == 800);
  // A copy of a store has the token as well.
  CHECK(one->clone(kHang)->get("key", kHang) == "value");
}

TEST_CASE("a master asks for the token that its own clients have") {
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.is_master = true;
  options.timeout = kHang;
  options.keeper = client_keeper();
  options.security.keeper = server_keeper();
  const auto master = TCPStore::open(options);
  master->set("key", "value");
  options.is_master = false;
  options.port = master->port();
  CHECK(TCPStore::open(options)->get("key", kHang) == "value");
  options.keeper = nullptr;
  CHECK(contains(refusal(options), "it wants a token"));
}

TEST_CASE("another token: client and server say so, with the other's address") {
  SecureScene scene;
  const std::string said = refusal(scene.options(client_keeper(kOtherSecret)));
  CHECK_MESSAGE(contains(said, "127.0.0.1:" + std::to_string(scene.server.port())), said);
  CHECK_MESSAGE(contains(said, "the server does not know the token default/member/"), said);
  CHECK_MESSAGE(contains(said, "RENDEZVOUS_TOKEN"), said);
  const std::string line = awaited_log("it has another token");
  CHECK_MESSAGE(contains(line, "audit event=refused peer='127.0.0.1:"), line);
  CHECK_FALSE(contains(line, kSecret));
  CHECK_FALSE(contains(line, kOtherSecret));
  scene.store()->set("key", "others are served");
}

TEST_CASE("a native client without a token is told in its own protocol what to set") {
  SecureScene scene;
  const std::string said = refusal(scene.options(nullptr));
  CHECK_MESSAGE(contains(said, "it wants a token: set RENDEZVOUS_TOKEN_FILE"), said);
  CHECK_FALSE(awaited_log("it came without TLS").empty());
}

TEST_CASE("a client with a token tells a server without one by its answer") {
  Server plain("127.0.0.1", 0);
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.port = plain.port();
  options.timeout = kHang;
  options.keeper = client_keeper();
  const std::string said = refusal(options);
  CHECK_MESSAGE(contains(said, "the server speaks no TLS"), said);
  CHECK_FALSE(awaited_log("it speaks TLS, and this server was started without").empty());
}

TEST_CASE("torch's protocol is taken from this machine, where a token is wanted of others") {
  SecureScene scene;
  C10dPeer worker(scene.server.port());
  worker.ping();
  const tls::Texts token{kSecret};
  const ServerSecurity security{std::make_shared<tls::Keeper>(Side::kServer, token)};
  const char c10d = static_cast<char>(c10d::Code::kValidate);
  CHECK(admit(security, c10d, true).way == Admission::Way::kPlain);
  CHECK(admit(security, c10d, false).way == Admission::Way::kRefused);
  CHECK(admit(security, 'R', true).way == Admission::Way::kRefused);
  CHECK(admit(security, 'R', false).way == Admission::Way::kRefused);
  CHECK(admit(security, 'G', true).way == Admission::Way::kRefused);
  CHECK(admit(security, tls::kHandshakeByte, false).way == Admission::Way::kTls);
}

TEST_CASE("a line of text is answered to this machine alone, where a token is wanted of others") {
  SecureScene scene;
  Peer person(scene.server.port());
  person.send("status\n");
  CHECK(contains(person.receive(10), "rendezvous"));
  const ServerSecurity security{scene.keeper};
  const Admission refused = admit(security, 's', false);
  CHECK(refused.way == Admission::Way::kRefused);
  CHECK(contains(refused.answer, "this server wants a token"));
}

TEST_CASE("a handshake and requests that come byte by byte are taken") {
  SecureScene scene;
  SecurePeer peer(scene.server.port());
  peer.open(1);
  REQUIRE(peer.session->is_open());
  peer.session->send(native_greeting());
  peer.session->send(native_set(1, "/key", "value"));
  peer.send(1);
  // Of the answer to HELLO and that to SET, some bytes at least.
  CHECK(peer.receive(native::kHeaderBytes).size() == native::kHeaderBytes);
  CHECK(scene.store()->get("key", kHang) == "value");
}

TEST_CASE("half a handshake, and one that is broken off, cost nobody else anything") {
  SecureScene scene;
  const std::string hello(tls::Credentials::for_client(with_token())->begin()->to_send());
  std::vector<std::unique_ptr<Peer>> halves;
  for (size_t size = 1; size < hello.size(); size += 40) {
    halves.push_back(std::make_unique<Peer>(scene.server.port()));
    halves.back()->send(Bytes(hello).substr(0, size));
    Peer(scene.server.port()).send(Bytes(hello).substr(0, size));
  }
  const auto store = scene.store();
  store->set("key", "value");
  CHECK(store->get("key", kHang) == "value");
}

TEST_CASE("bytes that are no TLS, in the middle of it, end the connection") {
  SecureScene scene;
  SecurePeer peer(scene.server.port());
  peer.open();
  peer.session->send(native_greeting());
  peer.send();
  peer.receive(native::kHeaderBytes);
  peer.socket.send("RDZV plain bytes, a whole record of them");
  peer.socket.receive_to_end();
  CHECK_FALSE(awaited_log("what it sent is not TLS").empty());
}

TEST_CASE("while the token is renewed, no request fails and no newcomer is turned away") {
  SecureScene scene;
  const auto has = client_keeper();
  std::atomic<bool> is_over{false};
  std::atomic<int> served{0};
  const auto lasting = scene.store(has);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      while (!is_over) {
        scene.store(has)->set("new/" + std::to_string(t), "");
        lasting->add("sum", 1);
        ++served;
      }
    });
  }
  const auto serve_more = [&] {
    for (const int before = served; served < before + 20;) std::this_thread::yield();
  };
  serve_more();
  const std::string secrets[] = {kSecret, kOtherSecret};
  for (int round = 0; round < 6; ++round) {
    const std::string& old_one = secrets[round % 2];
    const std::string& new_one = secrets[(round + 1) % 2];
    CHECK(scene.keeper->renew({old_one + "\n" + new_one}));
    serve_more();
    CHECK(has->renew({new_one}));
    serve_more();
    CHECK(scene.keeper->renew({new_one}));
    serve_more();
  }
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(lasting->add("sum", 0) == served);
}

TEST_CASE("each token opens its own name space, and lets its holder do what its role allows") {
  const std::string a = "rendezvous:a:member:" + kSecret;
  const std::string b = "rendezvous:b:member:" + kSecret;
  const std::string reads = "rendezvous:a:reader:" + kSecret;
  SecureScene scene(server_keeper(kSecret + "\n" + a + "\n" + b + "\n" + reads +
                                  "\ndefault admin " + kOtherSecret));
  const auto of_a = scene.store(client_keeper(a));
  const auto of_b = scene.store(client_keeper(b));
  of_a->set("key", "of a");
  of_b->set("key", "of b");
  scene.store()->set("key", "of default");
  const auto reader = scene.store(client_keeper(reads));
  CHECK(reader->get("key", kHang) == "of a");
  CHECK(reader->num_keys() == 1);
  CHECK_THROWS_WITH_AS(reader->set("key", "x"), doctest::Contains("role reader"), Error);
  CHECK(of_b->get("key", kHang) == "of b");
  const auto admin = client_keeper("rendezvous:default:admin:" + kOtherSecret);
  CHECK(scene.store(admin)->get("key", kHang) == "of default");
  admin->set_space("b");
  CHECK(scene.store(admin)->get("key", kHang) == "of b");
  const auto curious = client_keeper(a);
  curious->set_space("b");
  CHECK_MESSAGE(contains(refusal(scene.options(curious)), "name space 'a'"), "");
  CHECK(of_a->get("key", kHang) == "of a");
}

TEST_CASE(
    "a client that floods by TLS and reads nothing delays nobody, and is served when it reads") {
  SecureScene scene;
  const auto store = scene.store();
  SecurePeer flood(scene.server.port());
  flood.open();
  constexpr size_t kRequests = 100'000;
  std::string bytes = native_greeting();
  for (size_t id = 1; id <= kRequests; ++id)
    bytes += native_frame(native::Operation::kPing, id, "");
  flood.session->send(bytes);
  std::thread sends([&] { flood.send(); });
  for (int i = 0; i < 100; ++i) store->set("key", std::to_string(i));
  CHECK(store->get("key", kHang) == "99");
  sends.join();
  // Its answers come, all of them, once it reads.
  const size_t all = kRequests * native::kHeaderBytes;
  while (flood.heard.size() < all && flood.session->state() < tls::Session::State::kEnded) {
    std::string some = flood.socket.receive(1);
    some += flood.socket.receive_available();
    flood.session->receive(some, flood.heard);
  }
  CHECK(flood.heard.size() > all);  // and that to its HELLO
}

TEST_CASE("guessing tokens becomes slow, and holders of one from the same address get in") {
  SecureScene scene;
  const auto guess = [&] { refusal(scene.options(client_keeper(kOtherSecret))); };
  for (uint64_t i = 0; i < Suspects::kFree; ++i) guess();
  const Instant begin = now();
  for (int i = 0; i < 4; ++i) guess();
  CHECK(now() - begin >= 3 * Suspects::kWaitMin);
  scene.store()->set("key", "value");
}

TEST_CASE(
    "newcomers that all come together each have their turn, and others are served meanwhile") {
  SecureScene scene;
  const auto store = scene.store();
  std::vector<std::unique_ptr<SecurePeer>> newcomers;
  // More than a turn takes; every third says nothing more, or hangs up.
  for (int i = 0; i < 200; ++i) {
    newcomers.push_back(std::make_unique<SecurePeer>(scene.server.port()));
    newcomers.back()->send();
    if (i % 3 == 0) newcomers.back()->socket.close();
    store->set("key", std::to_string(i));
  }
  for (int i = 0; i < 200; ++i) {
    if (i % 3 == 0) continue;
    newcomers[static_cast<size_t>(i)]->open();
    REQUIRE(newcomers[static_cast<size_t>(i)]->session->is_open());
  }
  CHECK(store->get("key", kHang) == "199");
}
