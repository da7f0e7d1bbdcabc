// What is fuzzed: functions that take any bytes, and in which nothing may go wrong: no read past an
// end, no undefined behaviour, no endless work, no broken promise. libFuzzer drives each from a
// program of its own (`nox -s fuzz`); the C++ tests replay the kept corpus over all. The same bytes
// do the same every time, as far as OpenSSL's random numbers let them.
#pragma once

#include <array>

#include "base/bytes.h"

namespace rdzv::fuzz {

// Decoders. Each is given bytes as the peer, a file or a back-end sends them.
void c10d(Bytes input);     // requests, in pieces
void native(Bytes input);   // preamble and frames; each body as every message
void replies(Bytes input);  // the first byte says to what: answers of the c10d protocol, in pieces
void state(Bytes input);    // a rendezvous' state
void file(Bytes input);     // a FileStore's file
void token(Bytes input);    // a token, and a file of tokens

// The server's core: requests of several connections, in pieces, while time goes by.
void server(Bytes input);

// Ends of TLS. The first byte says by what they prove themselves.
void tls_server(Bytes input);  // that hears this, in pieces
void tls_client(Bytes input);
void tls_damaged(Bytes input);  // both, whose bytes are changed on the way

struct Target {
  const char* name;
  void (*run)(Bytes input);
};
inline constexpr std::array kTargets = {
    Target{"c10d", c10d},
    Target{"native", native},
    Target{"replies", replies},
    Target{"state", state},
    Target{"file", file},
    Target{"token", token},
    Target{"server", server},
#ifdef RDZV_TLS
    Target{"tls_server", tls_server},
    Target{"tls_client", tls_client},
    Target{"tls_damaged", tls_damaged},
#endif
};

}  // namespace rdzv::fuzz
