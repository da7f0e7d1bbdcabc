// TLS with a token, both ends in memory: what proves whom, however the bytes are cut, and what it
// costs.
#include "tls/session.h"

#include <random>
#include <string>

#include "base/error.h"
#include "tls/keeper.h"
#include "tls_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using tls::Session;

TEST_CASE("two ends with one token prove it to each other, and say what they have to say") {
  for (const size_t piece : {SIZE_MAX, size_t{1}, size_t{7}}) {
    TlsPair pair(with_token(), with_token());
    pair.talk(piece);
    REQUIRE_MESSAGE(pair.is_open(), pair.server->failure(), pair.client->failure());
    CHECK(pair.server->peer().by_token);
    CHECK(pair.server->peer().space == "default");
    CHECK(pair.server->peer().role == tls::Role::kMember);
    CHECK(pair.server->peer().key_id.size() == 16);
    CHECK(pair.server->peer().key_id == pair.client->peer().key_id);
    std::mt19937 random(3);
    std::string from_client;
    std::string from_server;
    for (const size_t size : {1u, 100u, 16'384u, 16'385u, 200'000u}) {
      const std::string said = noise(random, size);
      const std::string answered = noise(random, size / 2 + 1);
      pair.client->send(said);
      pair.server->send(answered);
      from_client += said;
      from_server += answered;
      pair.talk(piece);
    }
    CHECK((pair.server_heard == from_client));
    CHECK((pair.client_heard == from_server));
    pair.client->end();
    pair.talk(piece);
    CHECK(pair.server->state() == Session::State::kEnded);
    pair.server->end();
    pair.talk(piece);
    CHECK(pair.client->state() == Session::State::kEnded);
  }
}

TEST_CASE("what goes over the line shows nothing of what is said, nor of the token") {
  TlsPair pair(with_token(), with_token());
  std::string line(pair.client->to_send());
  pair.talk();
  pair.client->send("a value that nobody else may see");
  line += pair.client->to_send();
  CHECK_FALSE(contains(line, "nobody else"));
  CHECK_FALSE(contains(line, kSecret));
}

TEST_CASE("a token is a name space's and a role's: the server finds out which") {
  const std::string file = "team member " + kSecret + "\nteam reader " + kOtherSecret +
                           "\nother admin " + kSecret + "\n" + kSecret;
  struct Case {
    std::string token;
    std::string space;
    tls::Role role;
  };
  const Case cases[] = {
      {"rendezvous:team:member:" + kSecret, "team", tls::Role::kMember},
      {"rendezvous:team:reader:" + kOtherSecret, "team", tls::Role::kReader},
      {"rendezvous:other:admin:" + kSecret, "other", tls::Role::kAdmin},
      {kSecret, "default", tls::Role::kMember},
  };
  for (const Case& c : cases) {
    TlsPair pair(with_token(file), with_token(c.token));
    pair.talk();
    REQUIRE_MESSAGE(pair.is_open(), pair.server->failure());
    CHECK(pair.server->peer().space == c.space);
    CHECK(pair.server->peer().role == c.role);
  }
  // The same secret under a role that it was not given.
  for (const std::string& token :
       {"rendezvous:team:admin:" + kSecret, "rendezvous:other:member:" + kSecret,
        "rendezvous:nobody:member:" + kSecret, "rendezvous:team:reader:" + kSecret}) {
    TlsPair pair(with_token(file), with_token(token));
    pair.talk();
    CHECK(pair.server->state() == Session::State::kFailed);
    CHECK(pair.client->state() == Session::State::kFailed);
  }
}

TEST_CASE("another token: both ends say so, and neither shows its secret") {
  for (const size_t piece : {SIZE_MAX, size_t{1}}) {
    TlsPair pair(with_token(), with_token(kOtherSecret));
    pair.talk(piece);
    REQUIRE(pair.server->state() == Session::State::kFailed);
    REQUIRE(pair.client->state() == Session::State::kFailed);
    CHECK_MESSAGE(contains(pair.server->failure(), "it has another token"), pair.server->failure());
    CHECK_MESSAGE(contains(pair.client->failure(), "does not know the token default/member/"),
                  pair.client->failure());
    CHECK(contains(pair.server->failure(), "RENDEZVOUS_TOKEN"));
    CHECK(contains(pair.client->failure(), "RENDEZVOUS_TOKEN"));
    CHECK_FALSE(contains(pair.server->failure(), kSecret));
    CHECK_FALSE(contains(pair.client->failure(), kOtherSecret));
    CHECK(pair.server_heard.empty());
    CHECK(pair.client_heard.empty());
  }
}

TEST_CASE("who forges the name of a token does not have it") {
  // The id in a ClientHello is public: replay it with a key of one's own, and the proof fails.
  const std::string real = client_hello();
  const std::string mine = client_hello(kOtherSecret);
  const size_t at = mine.find("rendezvous1/");
  REQUIRE(at != std::string::npos);
  std::string forged = mine;
  const std::string name =
      real.substr(real.find("rendezvous1/"), sizeof("rendezvous1/default/member/") - 1 + 16);
  forged.replace(at, name.size(), name);
  const auto server = tls::Credentials::for_server(with_token())->begin();
  std::string heard;
  server->receive(forged, heard);
  CHECK(server->state() == Session::State::kFailed);
  CHECK_MESSAGE(contains(server->failure(), "did not prove that it has the token"),
                server->failure());
}

TEST_CASE(
    "a recorded client is nobody: its hello alone opens nothing, and its rest no second time") {
  std::string recorded;
  {
    TlsPair pair(with_token(), with_token());
    recorded += pair.client->to_send();
    TlsPair::carry(*pair.client, *pair.server, pair.server_heard, SIZE_MAX);
    TlsPair::carry(*pair.server, *pair.client, pair.client_heard, SIZE_MAX);
    pair.client->send("SET");
    recorded += pair.client->to_send();
    pair.talk();
    CHECK(pair.server_heard == "SET");
  }
  const auto server = tls::Credentials::for_server(with_token())->begin();
  std::string heard;
  server->receive(recorded, heard);
  CHECK(server->state() == Session::State::kFailed);
  CHECK(heard.empty());
}

TEST_CASE("plain bytes to an end that speaks TLS are told apart by the first of them") {
  const std::string words[] = {"RDZV\x01", std::string(5, '\0'), "GET / HTTP/1.1\r\n"};
  for (const std::string& said : words) {
    for (const bool whole : {true, false}) {
      const auto server = tls::Credentials::for_server(with_token())->begin();
      const auto client = tls::Credentials::for_client(with_token())->begin();
      std::string heard;
      for (size_t at = 0; at < said.size(); at += whole ? said.size() : 1) {
        server->receive(Bytes(said).substr(at, whole ? said.size() : 1), heard);
        client->receive(Bytes(said).substr(at, whole ? said.size() : 1), heard);
      }
      CHECK(server->state() == Session::State::kFailed);
      CHECK(contains(server->failure(), "it speaks no TLS"));
      CHECK(client->state() == Session::State::kFailed);
      CHECK(contains(client->failure(), "the server speaks no TLS"));
      CHECK(heard.empty());
    }
  }
}

TEST_CASE("a server that speaks no TLS says so to a client that does") {
  const auto client = tls::Credentials::for_client(with_token())->begin();
  std::string heard;
  client->receive(tls::no_tls_alert(), heard);
  CHECK(client->state() == Session::State::kFailed);
  CHECK_MESSAGE(contains(client->failure(), "the server speaks no TLS"), client->failure());
}

TEST_CASE("no beginning of a handshake opens anything, and every one goes on") {
  const std::string hello = client_hello();
  const auto credentials = tls::Credentials::for_server(with_token());
  for (size_t size = 0; size < hello.size(); ++size) {
    const auto server = credentials->begin();
    std::string heard;
    server->receive(Bytes(hello).substr(0, size), heard);
    REQUIRE(server->state() == Session::State::kHandshake);
    REQUIRE(server->to_send().empty());
    server->receive(Bytes(hello).substr(size), heard);
    REQUIRE(server->state() == Session::State::kHandshake);
    REQUIRE_FALSE(server->to_send().empty());
  }
}

TEST_CASE("a bit that changes on the way ends the connection, and nothing wrong is heard") {
  std::mt19937 random(11);
  const auto for_server = tls::Credentials::for_server(with_token());
  const auto for_client = tls::Credentials::for_client(with_token());
  int ended = 0;
  for (int round = 0; round < 400; ++round) {
    const auto server = for_server->begin();
    const auto client = for_client->begin();
    std::string server_heard;
    std::string client_heard;
    // One flight of the six or so is changed.
    int flights = static_cast<int>(random() % 5);
    for (int turn = 0; turn < 8; ++turn) {
      tls::Session& from = turn % 2 == 0 ? *client : *server;
      tls::Session& to = turn % 2 == 0 ? *server : *client;
      if (from.is_open() && turn >= 2) from.send("said");
      std::string bytes(from.to_send());
      from.on_sent(bytes.size());
      if (!bytes.empty() && flights-- == 0)
        bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
      to.receive(bytes, turn % 2 == 0 ? server_heard : client_heard);
    }
    for (const std::string& heard : {server_heard, client_heard}) {
      for (size_t at = 0; at < heard.size(); at += 4) REQUIRE(heard.substr(at, 4) == "said");
    }
    ended += server->state() == Session::State::kFailed;
    ended += client->state() == Session::State::kFailed;
    if (server->state() == Session::State::kFailed) REQUIRE_FALSE(server->failure().empty());
  }
  CHECK(ended > 300);
}

TEST_CASE("garbage of every kind is refused in words, and the refusal is bounded") {
  std::mt19937 random(5);
  const auto credentials = tls::Credentials::for_server(with_token());
  const std::string hello = client_hello();
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = round % 3 == 0 ? noise(random, random() % 600 + 1) : hello;
    if (round % 3 == 1) bytes = bytes.substr(0, random() % bytes.size()) + noise(random, 700);
    if (round % 3 == 2) {
      for (int i = 0; i < 4; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    bytes[0] = tls::kHandshakeByte;
    const auto server = credentials->begin();
    std::string heard;
    for (size_t at = 0; at < bytes.size();) {
      const size_t piece = std::min<size_t>(random() % 200 + 1, bytes.size() - at);
      server->receive(Bytes(bytes).substr(at, piece), heard);
      at += piece;
    }
    REQUIRE_FALSE(server->is_open());
    REQUIRE(heard.empty());
    REQUIRE(server->to_send().size() < 4096);
    if (server->state() == Session::State::kFailed) REQUIRE_FALSE(server->failure().empty());
  }
}

TEST_CASE("who says much before it has said who it is, is refused") {
  // Alerts, or a hello that never ends: whichever bound is met first.
  const auto server = tls::Credentials::for_server(with_token())->begin();
  std::string heard;
  const std::string record =
      std::string("\x16\x03\x01\x40\x00\x01\x00\xff\xff", 9) + std::string(16'384 - 4, '\0');
  size_t sent = 0;
  while (server->state() == Session::State::kHandshake && sent < 10 * tls::kHandshakeBytesMax) {
    server->receive(record, heard);
    sent += record.size();
  }
  CHECK(server->state() == Session::State::kFailed);
  CHECK(sent <= tls::kHandshakeBytesMax + record.size());
}

TEST_CASE("keys are renewed while both ends speak, and nobody notices") {
  tls::Material often = with_token();
  often.bytes_per_key = 1000;
  TlsPair pair(often, often);
  pair.talk();
  REQUIRE(pair.is_open());
  std::mt19937 random(9);
  std::string from_client;
  std::string from_server;
  size_t overhead = 0;
  for (int round = 0; round < 2000; ++round) {
    const std::string said = noise(random, random() % 900 + 1);
    pair.client->send(said);
    pair.server->send(said);
    from_client += said;
    from_server += said;
    overhead += pair.client->to_send().size() - said.size();
    pair.talk(round % 5 == 0 ? 1 : SIZE_MAX);
  }
  CHECK(pair.is_open());
  CHECK((pair.server_heard == from_client));
  CHECK((pair.client_heard == from_server));
  // A record costs 22 bytes, and those that renew a key are there beside what is said.
  CHECK(overhead > 2000 * 22 + 300 * 22);
}

TEST_CASE("a token is renewed while two hold, and sessions that have begun go on") {
  tls::Keeper server(tls::Keeper::Side::kServer, {kSecret});
  tls::Keeper client(tls::Keeper::Side::kClient, {kSecret});
  TlsPair pair(with_token(), with_token());
  const auto meet = [&] {
    pair.server = server.current()->begin();
    pair.client = client.current()->begin();
    pair.talk();
    return pair.is_open();
  };
  CHECK(meet());
  CHECK_FALSE(server.renew({kSecret}));
  CHECK(server.renew({kOtherSecret + "\n" + kSecret}));
  CHECK(meet());
  const auto old_server = std::move(pair.server);
  const auto old_client = std::move(pair.client);
  // The client has the new one first in its file, and offers that.
  CHECK(client.renew({kOtherSecret + "\n" + kSecret}));
  CHECK(meet());
  CHECK(server.renew({kOtherSecret}));
  CHECK(meet());
  client.renew({kSecret});
  CHECK_FALSE(meet());
  // Half a file changes nothing.
  CHECK_THROWS_AS(server.renew({"short"}), Error);
  CHECK_THROWS_AS(server.renew({}), Error);
  client.renew({kOtherSecret});
  CHECK(meet());
  old_client->send("still there");
  std::string heard;
  TlsPair::carry(*old_client, *old_server, heard, SIZE_MAX);
  CHECK(heard == "still there");
}
