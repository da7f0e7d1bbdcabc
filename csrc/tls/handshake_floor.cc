// The floor of a handshake: TLS 1.3 with an external pre-shared key and X25519, by OpenSSL alone, both
// ends in one thread with nothing between them. Says what CPU time the server's end takes, and whose
// OpenSSL it is, as JSON.
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <openssl/tls1.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "tls/openssl.h"

namespace rdzv::tls {
namespace {

using std::chrono::nanoseconds;

constexpr unsigned char kKey[32] = {1};
constexpr unsigned char kIdentity[] = "floor";
constexpr int kFlights = 10;  // more than a handshake has

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "handshake_floor: %s\n", what.c_str());
  std::exit(1);
}

void check(bool is_done, const char* what) {
  if (!is_done) give_up(std::string(what) + ": " + take_error_text());
}

nanoseconds cpu_time() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return std::chrono::seconds(used.tv_sec) + nanoseconds(used.tv_nsec);
}

SSL_SESSION* session_of_key(SSL* ssl) {
  static constexpr unsigned char kAes128GcmSha256[] = {0x13, 0x01};
  SSL_SESSION* session = SSL_SESSION_new();
  SSL_SESSION_set1_master_key(session, kKey, sizeof(kKey));
  SSL_SESSION_set_cipher(session, SSL_CIPHER_find(ssl, kAes128GcmSha256));
  SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION);
  return session;
}

int use_key(SSL* ssl, const EVP_MD*, const unsigned char** identity, size_t* bytes,
            SSL_SESSION** session) {
  *identity = kIdentity;
  *bytes = sizeof(kIdentity);
  *session = session_of_key(ssl);
  return 1;
}

int find_key(SSL* ssl, const unsigned char*, size_t, SSL_SESSION** session) {
  *session = session_of_key(ssl);
  return 1;
}

ContextPointer context(const SSL_METHOD* method) {
  ContextPointer made(SSL_CTX_new(method));
  check(made != nullptr && SSL_CTX_set_min_proto_version(made.get(), TLS1_3_VERSION) == 1 &&
            SSL_CTX_set1_groups_list(made.get(), "X25519") == 1 &&
            SSL_CTX_set_ciphersuites(made.get(), "TLS_AES_128_GCM_SHA256") == 1 &&
            SSL_CTX_set_num_tickets(made.get(), 0) == 1,
        "the settings");
  return made;
}

nanoseconds shake_hands(SSL_CTX& of_client, SSL_CTX& of_server) {
  BIO* ends[2] = {};
  check(BIO_new_bio_pair(&ends[0], 0, &ends[1], 0) == 1, "two ends");
  SslPointer client(SSL_new(&of_client));
  SSL_set_bio(client.get(), ends[0], ends[0]);
  SSL_set_connect_state(client.get());
  nanoseconds took = -cpu_time();
  SslPointer server(SSL_new(&of_server));
  SSL_set_bio(server.get(), ends[1], ends[1]);
  SSL_set_accept_state(server.get());
  took += cpu_time();
  bool is_done = false;
  for (int flight = 0; flight < kFlights && !is_done; ++flight) {
    const bool is_client_done = SSL_do_handshake(client.get()) == 1;
    took -= cpu_time();
    is_done = SSL_do_handshake(server.get()) == 1 && is_client_done;
    took += cpu_time();
  }
  check(is_done, "the handshake");
  took -= cpu_time();
  server.reset();
  return took + cpu_time();
}

int run(int count) {
  const ContextPointer client = context(TLS_client_method());
  const ContextPointer server = context(TLS_server_method());
  SSL_CTX_set_psk_use_session_callback(client.get(), use_key);
  SSL_CTX_set_psk_find_session_callback(server.get(), find_key);
  nanoseconds took{};
  for (int i = 0; i < count; ++i) took += shake_hands(*client, *server);
  const std::chrono::duration<double, std::micro> each = took / static_cast<double>(count);
  std::printf("{\"server_cpu_us_per_handshake\": %.1f, \"openssl\": \"%s\"}\n", each.count(),
              OpenSSL_version(OPENSSL_VERSION));
  return 0;
}

}  // namespace
}  // namespace rdzv::tls

int main(int argc, char** argv) {
  const int count = argc == 2 ? std::atoi(argv[1]) : 0;
  if (count <= 0) rdzv::tls::give_up("usage: handshake_floor COUNT");
  return rdzv::tls::run(count);
}
