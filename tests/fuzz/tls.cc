// Ends of TLS that hear anything: one at a time, and two whose bytes are changed on the way. They
// prove themselves by a token or by certificates. OpenSSL itself is not built for the fuzzer, so it
// looks for ways through ours.
#include <array>
#include <memory>
#include <string>
#include <tuple>

#include "../cpp/tls_scene.h"
#include "input.h"
#include "targets.h"
#include "tls/credentials.h"
#include "tls/session.h"

namespace rdzv::fuzz {
namespace {

using tls::Credentials;
using tls::Session;

struct Sides {
  std::shared_ptr<const Credentials> server;
  std::shared_ptr<const Credentials> client;
};

tls::Material with_tokens(const char* text) {
  tls::Material material;
  material.tokens = tls::parse_tokens(text);
  material.bytes_per_key = 512;  // so that keys are renewed
  return material;
}

std::array<Sides, 3> make_sides() {
  const auto tokens =
      with_tokens("0123456789abcdef0123456789abcdef\nteam reader 00112233445566778899");
  const test::Authority authority;
  tls::Material server, client;
  std::tie(server.certificate, server.key) = authority.issue({"server.test", -3600, 86'400});
  std::tie(client.certificate, client.key) = authority.issue({"client.test", -3600, 86'400});
  client.authorities = authority.certificate();
  tls::Material server_alone = server;
  server.authorities = authority.certificate();
  return {Sides{Credentials::for_server(tokens), Credentials::for_client(tokens)},
          Sides{Credentials::for_server(server_alone), Credentials::for_client(client)},
          Sides{Credentials::for_server(server), Credentials::for_client(client)}};
}

const Sides& sides_of(Input& input) {
  static const std::array<Sides, 3> all = make_sides();
  return all[input.byte() % all.size()];
}

void look_at(const Session& session, const std::string& heard) {
  check(heard.empty() || session.state() != Session::State::kHandshake,
        "nothing is heard before the other is known");
  check((session.state() == Session::State::kFailed) == !session.failure().empty(),
        "who has failed says why");
}

void hear(Session& session, Input& input) {
  std::string heard;
  while (!input.is_empty()) {
    const Exact piece(input.take(1 + input.number() % 2048));
    session.receive(piece.view(), heard);
    session.on_sent(session.to_send().size());
    look_at(session, heard);
  }
  check(!session.is_open(), "who knows no secret gets in nowhere");
  session.end();
}

}  // namespace

void tls_server(Bytes bytes) {
  Input input(bytes);
  const auto session = sides_of(input).server->begin();
  hear(*session, input);
}

void tls_client(Bytes bytes) {
  Input input(bytes);
  const auto session = sides_of(input).client->begin("server.test");
  hear(*session, input);
}

namespace {

// Carries bytes from one to the other; the input says what becomes of them.
class Way {
 public:
  Way(Session& from, Session& to, Input& input) : from_(from), to_(to), input_(input) {}

  // False: there was nothing.
  bool carry() {
    std::string bytes(from_.to_send());
    if (bytes.empty()) return false;
    from_.on_sent(bytes.size());
    change(bytes);
    while (!bytes.empty()) {
      const Exact piece(Bytes(bytes).substr(0, input_.is_empty() ? SIZE_MAX : 1 + input_.number()));
      to_.receive(piece.view(), heard);
      look_at(to_, heard);
      bytes.erase(0, piece.view().size());
    }
    return true;
  }

  std::string heard;
  bool is_changed = false;

 private:
  void change(std::string& bytes) {
    const uint8_t how = input_.byte();
    if (how == 0 || bytes.empty()) return;
    const size_t at = input_.number() % bytes.size();
    const std::string before = bytes;
    switch (how % 5) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ input_.byte());
        break;
      case 1:
        bytes.resize(at);
        break;
      case 2:
        bytes.insert(at, input_.take(input_.byte()));
        break;
      case 3:
        bytes.erase(at, 1 + input_.byte());
        break;
      default:
        bytes.insert(bytes.size(), bytes.substr(at));
    }
    is_changed = is_changed || bytes != before;
  }

  Session& from_;
  Session& to_;
  Input& input_;
};

// Until nothing is under way in either direction.
void carry_all(Way& there, Way& back) {
  for (bool is_under_way = true; is_under_way;) {
    is_under_way = there.carry();
    is_under_way = back.carry() || is_under_way;
  }
}

}  // namespace

void tls_damaged(Bytes bytes) {
  Input input(bytes);
  const Sides& sides = sides_of(input);
  const auto server = sides.server->begin();
  const auto client = sides.client->begin("server.test");
  Way there(*client, *server, input);
  Way back(*server, *client, input);
  std::string said_there, said_back;
  for (int words = 0; words < 8; ++words) {
    carry_all(there, back);
    const std::string word(size_t{1} + input.number() % 4096, static_cast<char>('a' + words));
    if (client->is_open()) {
      said_there += word;
      client->send(word);
    }
    if (server->is_open()) {
      said_back += word;
      server->send(word);
    }
  }
  // Whatever is heard was said, in its order, and nothing is heard behind what was changed.
  check(said_there.starts_with(there.heard), "the server hears what the client said");
  check(said_back.starts_with(back.heard), "the client hears what the server said");
  client->end();
  carry_all(there, back);
  if (there.is_changed || back.is_changed) return;
  check(there.heard == said_there && back.heard == said_back, "all is heard where nobody meddles");
}

}  // namespace rdzv::fuzz
