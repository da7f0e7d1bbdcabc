// What TLS keeps in memory: of connections that are idle, of those that were refused, and of
// handshakes that came to nothing.
#include <malloc.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tls/credentials.h"
#include "tls/session.h"
#include "tls_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using tls::Session;

namespace {

size_t heap_bytes() {
  return ::mallinfo2().uordblks;
}

// Until neither has anything for the other.
void talk(Session& client, Session& server, size_t piece) {
  std::string heard;
  for (bool is_more = true; is_more;) {
    is_more = TlsPair::carry(client, server, heard, piece);
    is_more = TlsPair::carry(server, client, heard, piece) || is_more;
  }
}

}  // namespace

TEST_CASE("an idle connection takes less than 16 KiB an end, after much was said as well") {
  constexpr size_t kPairs = 200;
  const auto for_server = tls::Credentials::for_server(with_token());
  const auto for_client = tls::Credentials::for_client(with_token());
  std::vector<std::unique_ptr<Session>> clients;
  std::vector<std::unique_ptr<Session>> servers;
  clients.reserve(kPairs);
  servers.reserve(kPairs);
  const size_t before = heap_bytes();
  for (size_t i = 0; i < kPairs; ++i) {
    clients.push_back(for_client->begin());
    servers.push_back(for_server->begin());
    talk(*clients[i], *servers[i], SIZE_MAX);
    REQUIRE(servers[i]->is_open());
    servers[i]->send(std::string(100'000, 'x'));
    clients[i]->send(std::string(100'000, 'x'));
    talk(*clients[i], *servers[i], 5000);
  }
  const size_t both = (heap_bytes() - before) / kPairs;
  clients.clear();
  const size_t server = (heap_bytes() - before) / kPairs;
  CHECK(server < 16 * 1024);
  CHECK(both - server < 16 * 1024);
}

TEST_CASE("10,000 handshakes that come to nothing leave nothing behind") {
  const auto credentials = tls::Credentials::for_server(with_token());
  const std::string wrong = client_hello(kOtherSecret);
  const std::string right = client_hello();
  std::mt19937 random(13);
  const auto abort_one = [&](int kind) {
    const auto server = credentials->begin();
    std::string heard;
    switch (kind % 4) {
      case 0:  // another token
        server->receive(wrong, heard);
        break;
      case 1:  // half a hello
        server->receive(Bytes(right).substr(0, random() % right.size()), heard);
        break;
      case 2:  // all of it, and no proof
        server->receive(right, heard);
        break;
      default: {
        std::string bytes = noise(random, 300);
        bytes[0] = tls::kHandshakeByte;
        server->receive(bytes, heard);
      }
    }
    REQUIRE_FALSE(server->is_open());
  };
  for (int i = 0; i < 400; ++i) abort_one(i);
  const size_t before = heap_bytes();
  for (int i = 0; i < 10'000; ++i) abort_one(i);
  const auto grown = static_cast<long>(heap_bytes()) - static_cast<long>(before);
  CHECK(grown < 64 * 1024);
}

TEST_CASE("a refused session keeps nothing but why") {
  const auto credentials = tls::Credentials::for_server(with_token());
  const std::string wrong = client_hello(kOtherSecret);
  std::vector<std::unique_ptr<Session>> refused;
  refused.reserve(1000);
  const size_t before = heap_bytes();
  for (int i = 0; i < 1000; ++i) {
    refused.push_back(credentials->begin());
    std::string heard;
    refused.back()->receive(wrong, heard);
    REQUIRE(refused.back()->state() == Session::State::kFailed);
  }
  CHECK((heap_bytes() - before) / 1000 < 1500);
}

TEST_CASE("a message that says how long it will be takes no memory before it has come") {
  const auto credentials = tls::Credentials::for_server(with_token());
  using namespace std::string_literals;
  // The heads of a record and of a ClientHello, and nothing behind them; or cut into records, so that
  // the second head comes later.
  const std::string heads[] = {
      "\x16\x03\x01\x00\x20\x01\x01\xff\xff"s,
      "\x16\x03\x01\x40\x00\x01\x00\x40\x01"s,
      "\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x03\x01\xff\xff"s,
      "\x16\x03\x01\x00\x03\x01\x01\xff\x16\x03\x01\x00\x01\xff"s,
  };
  for (const std::string& head : heads) {
    for (const size_t piece : {size_t{1}, SIZE_MAX}) {
      std::vector<std::unique_ptr<Session>> servers;
      servers.reserve(200);
      const size_t before = heap_bytes();
      for (int i = 0; i < 200; ++i) {
        servers.push_back(credentials->begin());
        std::string heard;
        for (size_t at = 0; at < head.size(); at += std::min(piece, head.size() - at))
          servers.back()->receive(Bytes(head).substr(at, piece), heard);
        REQUIRE(servers.back()->state() == Session::State::kFailed);
      }
      CHECK((heap_bytes() - before) / 200 < 1500);
    }
  }
  // One that is not too long is looked at as it comes.
  const auto client = tls::Credentials::for_client(with_token())->begin();
  const auto server = credentials->begin();
  talk(*client, *server, 1);
  CHECK(server->is_open());
}
