// TLS with certificates, both ends in memory: who is taken, and the sentence for whom is not.
#include <openssl/ssl.h>

#include <string>

#include "base/error.h"
#include "tls/credentials.h"
#include "tls_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using tls::Material;
using tls::Session;

namespace {

Material of_server(const Authority& authority, const Named& named = {"server.test"}) {
  Material material;
  std::tie(material.certificate, material.key) = authority.issue(named);
  return material;
}

Material that_trusts(const Authority& authority) {
  Material material;
  material.authorities = authority.certificate();
  return material;
}

// What both ends say in the end. An end that is content says nothing.
struct Said {
  std::string server;
  std::string client;
};
Said refusal(const Material& server, const Material& client,
             const std::string& name = "server.test") {
  TlsPair pair(server, client, name);
  pair.talk(1);
  CHECK_FALSE(pair.is_open());
  CHECK(pair.server_heard.empty());
  return {pair.server->failure(), pair.client->failure()};
}

std::string why_not(const Material& material, bool is_server) {
  try {
    is_server ? tls::Credentials::for_server(material) : tls::Credentials::for_client(material);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "it was taken";
}

}  // namespace

TEST_CASE("a server's certificate is taken by who trusts its authority, for its name or address") {
  const Authority authority;
  for (const std::string name : {"server.test", "10.1.2.3", "fd00::7"}) {
    TlsPair pair(of_server(authority, {name}), that_trusts(authority), name);
    pair.talk();
    REQUIRE_MESSAGE(pair.is_open(), pair.client->failure());
    CHECK_FALSE(pair.server->peer().by_token);
    CHECK(contains(pair.client->peer().certificate, name));
    pair.client->send("hello");
    pair.talk(1);
    CHECK(pair.server_heard == "hello");
  }
}

TEST_CASE("a server that asks for it knows its client by the client's certificate") {
  const Authority authority;
  Material server = of_server(authority);
  server.authorities = authority.certificate();
  Material client = of_server(authority, {"node7.test"});
  client.authorities = authority.certificate();
  TlsPair pair(server, client);
  pair.talk();
  REQUIRE_MESSAGE(pair.is_open(), pair.server->failure());
  CHECK(contains(pair.server->peer().certificate, "node7.test"));
}

TEST_CASE("what is wrong with a certificate is said at both ends") {
  const Authority authority;
  const Authority other;
  {
    const Said said =
        refusal(of_server(authority, {"server.test", -7200, -3600}), that_trusts(authority));
    CHECK_MESSAGE(contains(said.client, "has expired"), said.client);
    CHECK_MESSAGE(contains(said.server, "has expired"), said.server);
  }
  {
    const Said said = refusal(of_server(authority, {"another.test"}), that_trusts(authority));
    CHECK_MESSAGE(contains(said.client, "for another name than 'server.test'"), said.client);
    CHECK_MESSAGE(contains(said.server, "it refused this server's certificate"), said.server);
  }
  {
    const Said said =
        refusal(of_server(authority, {"10.0.0.1"}), that_trusts(authority), "10.0.0.2");
    CHECK_MESSAGE(contains(said.client, "for another name than '10.0.0.2'"), said.client);
  }
  {
    const Said said = refusal(of_server(authority), that_trusts(other));
    CHECK_MESSAGE(contains(said.client, "the server's certificate is refused"), said.client);
    CHECK_MESSAGE(contains(said.server, "none of the authorities"), said.server);
  }
}

TEST_CASE("a client without the certificate that is asked for is refused at both ends") {
  const Authority authority;
  const Authority other;
  Material server = of_server(authority);
  server.authorities = authority.certificate();
  {
    const Said said = refusal(server, that_trusts(authority));
    CHECK_MESSAGE(contains(said.server, "it showed no certificate"), said.server);
    CHECK_MESSAGE(contains(said.client, "wants its clients to show a certificate"), said.client);
  }
  Material client = of_server(other, {"node7.test"});
  client.authorities = authority.certificate();
  {
    const Said said = refusal(server, client);
    CHECK_MESSAGE(contains(said.server, "its certificate is refused"), said.server);
    CHECK_MESSAGE(contains(said.client, "refused this client's certificate"), said.client);
  }
}

TEST_CASE("a client with a token takes no server that has a certificate only") {
  const Authority authority;
  const Said said = refusal(of_server(authority), with_token());
  CHECK_MESSAGE(contains(said.client, "did not prove that it has the token"), said.client);
  CHECK_FALSE(said.server.empty());
}

TEST_CASE("a client without a token is told that the server wants one") {
  const Authority authority;
  const Said said = refusal(with_token(), that_trusts(authority));
  CHECK_MESSAGE(contains(said.server, "it offered no token"), said.server);
  CHECK_MESSAGE(contains(said.client, "the server wants a token"), said.client);
}

TEST_CASE("a server with both takes either, and a wrong token is no reason to try the other") {
  const Authority authority;
  Material server = of_server(authority);
  server.authorities = authority.certificate();
  server.tokens = tls::parse_tokens(kSecret);
  TlsPair by_token(server, with_token());
  by_token.talk();
  CHECK_MESSAGE(by_token.is_open(), by_token.server->failure());
  CHECK(by_token.server->peer().by_token);
  Material client = of_server(authority, {"node7.test"});
  client.authorities = authority.certificate();
  TlsPair by_certificate(server, client);
  by_certificate.talk();
  CHECK_MESSAGE(by_certificate.is_open(), by_certificate.server->failure());
  CHECK_FALSE(by_certificate.server->peer().by_token);
  const Said said = refusal(server, with_token(kOtherSecret));
  CHECK_MESSAGE(contains(said.server, "it has another token"), said.server);
  CHECK_MESSAGE(contains(said.client, "does not know the token"), said.client);
}

namespace {

// OpenSSL's own client, which trusts everybody and does what ours would not.
struct RawClient {
  explicit RawClient(int newest) : context(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context, newest);
    ssl = SSL_new(context);
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    SSL_do_handshake(ssl);
  }
  ~RawClient() {
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void send_to(Session& server) const {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(out, &bytes);
    std::string heard;
    server.receive(Bytes(bytes, static_cast<size_t>(size)), heard);
    BIO_reset(out);
  }
  void receive_from(Session& server) const {
    const Bytes bytes = server.to_send();
    BIO_write(in, bytes.data(), static_cast<int>(bytes.size()));
    server.on_sent(bytes.size());
  }

  SSL_CTX* context;
  SSL* ssl;
  BIO* in;
  BIO* out;
};

}  // namespace

TEST_CASE("who speaks TLS 1.2 only is told so") {
  const Authority authority;
  for (const Material& material : {with_token(), of_server(authority)}) {
    const RawClient old(TLS1_2_VERSION);
    const auto server = tls::Credentials::for_server(material)->begin();
    old.send_to(*server);
    CHECK(server->state() == Session::State::kFailed);
    CHECK_MESSAGE(contains(server->failure(), "it speaks no TLS 1.3"), server->failure());
    // The alert says it to the peer: protocol_version.
    CHECK(server->to_send() == Bytes("\x15\x03\x03\x00\x02\x02\x46", 7));
  }
}

TEST_CASE(
    "who asks for new keys again and again is served while it reads the answers, and no longer") {
  const Authority authority;
  const RawClient client(TLS1_3_VERSION);
  const auto server = tls::Credentials::for_server(of_server(authority))->begin();
  client.send_to(*server);
  client.receive_from(*server);
  REQUIRE(SSL_do_handshake(client.ssl) == 1);
  client.send_to(*server);
  REQUIRE(server->is_open());
  const auto ask = [&] {
    SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(client.ssl);
    client.send_to(*server);
  };
  char byte;
  for (int i = 0; i < 5000; ++i) {
    ask();
    REQUIRE(server->is_open());
    client.receive_from(*server);
    SSL_read(client.ssl, &byte, 1);
  }
  size_t most = 0;
  for (int i = 0; i < 20'000 && server->is_open(); ++i) {
    ask();
    most = std::max(most, server->to_send().size());
  }
  CHECK(server->state() == Session::State::kFailed);
  CHECK(contains(server->failure(), "reads no answers"));
  CHECK(most < 2 * tls::kOwnBytesMax);
}

TEST_CASE("material that does not belong together is refused before anybody comes") {
  const Authority authority;
  const Material good = of_server(authority);
  Material bad = good;
  bad.key.clear();
  CHECK(contains(why_not(bad, true), "tls_cert has no tls_key"));
  bad = good;
  bad.certificate.clear();
  CHECK(contains(why_not(bad, true), "tls_key has no tls_cert"));
  bad = good;
  bad.key = of_server(authority).key;
  CHECK(contains(why_not(bad, true), "is not that of the certificate"));
  bad = good;
  bad.certificate = "no PEM";
  CHECK(contains(why_not(bad, true), "tls_cert holds no certificate"));
  bad = good;
  bad.authorities = "no PEM";
  CHECK(contains(why_not(bad, true), "tls_ca holds no certificate"));
  bad = good;
  bad.tokens = tls::parse_tokens(kSecret);
  CHECK(contains(why_not(bad, true), "give tls_ca"));
  CHECK(contains(why_not({}, true), "needs a token"));
  bad = that_trusts(authority);
  CHECK(contains(why_not(bad, true), "tls_ca has no tls_cert"));
}
