// Who may come in: which hosts refuse to serve, which peers need no proof, and what the first byte
// says. Without TLS; what goes on by it is in tls_server_test.cc.
#include "server/security.h"

#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <string>

#include "base/error.h"
#include "base/log.h"
#include "support.h"
#include "tls/session.h"
#include "wire/c10d.h"
#include "wire/native.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

ErrorCode checked(const ServerSecurity& security, bool is_exposed, std::string* why = nullptr) {
  try {
    check_closed(security, "0.0.0.0", "0.0.0.0:29400", is_exposed);
  } catch (const Error& error) {
    if (why != nullptr) *why = error.message();
    return error.code();
  }
  return ErrorCode::kOk;
}

std::shared_ptr<AllowedPeers> allowed(std::set<std::string> addresses) {
  auto made = std::make_shared<AllowedPeers>();
  made->set(std::move(addresses));
  return made;
}

}  // namespace

TEST_CASE("who serves for other machines without asking anybody is refused, with the ways on") {
  std::string why;
  CHECK(checked({}, true, &why) == ErrorCode::kRefused);
  for (const char* part : {"0.0.0.0:29400", "rendezvous token --save", "RENDEZVOUS_INSECURE=1",
                           "--insecure", "insecure=1", "insecure=True"})
    CHECK_MESSAGE(why.find(part) != std::string::npos, part);
  CHECK(checked({}, false) == ErrorCode::kOk);
}

TEST_CASE("who says that everybody may come in is warned once, and only where others can") {
  ServerSecurity security;
  security.is_insecure = true;
  logged("");
  CHECK(checked(security, false) == ErrorCode::kOk);
  CHECK(logged("insecure") == "");
  CHECK(checked(security, true) == ErrorCode::kOk);
  CHECK(logged("0.0.0.0:29400: insecure: without a token") != "");
  CHECK(logged("insecure") == "");
}

TEST_CASE("a host that takes some addresses alone may serve for other machines") {
  ServerSecurity security;
  security.allowed = allowed({});
  CHECK(checked(security, true) == ErrorCode::kOk);
}

TEST_CASE("without credentials everybody needs no proof, unless addresses are named") {
  ServerSecurity security;
  CHECK(security.takes_unproved("10.0.0.1", false));
  CHECK(security.takes_unproved("127.0.0.1", true));
  security.allowed = allowed({"10.0.0.1", "fd00::1"});
  CHECK(security.takes_unproved("10.0.0.1", false));
  CHECK(security.takes_unproved("fd00::1", false));
  CHECK_FALSE(security.takes_unproved("10.0.0.2", false));
  // All of an address counts, and nothing else.
  CHECK_FALSE(security.takes_unproved("10.0.0.11", false));
  CHECK_FALSE(security.takes_unproved("10.0.0.", false));
  CHECK_FALSE(security.takes_unproved("", false));
  CHECK(security.takes_unproved("127.0.0.1", true));
  security.allowed->set({"10.0.0.2"});
  CHECK_FALSE(security.takes_unproved("10.0.0.1", false));
  CHECK(security.takes_unproved("10.0.0.2", false));
  security.allowed->set({});
  CHECK_FALSE(security.takes_unproved("10.0.0.2", false));
  CHECK(security.takes_unproved("::1", true));
}

TEST_CASE("without credentials all bytes go on as they are, but those of TLS") {
  const ServerSecurity security;
  for (int byte = 0; byte < 256; ++byte) {
    const Admission admission = admit(security, static_cast<char>(byte), true);
    if (static_cast<char>(byte) != tls::kHandshakeByte) {
      CHECK(admission.way == Admission::Way::kPlain);
      continue;
    }
    CHECK(admission.way == Admission::Way::kRefused);
    CHECK(admission.why.find("without a token or certificates") != std::string::npos);
    CHECK(admission.answer == tls::no_tls_alert());
  }
}
