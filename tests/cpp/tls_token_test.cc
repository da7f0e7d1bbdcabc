// Tokens as text: what stands in them, and what is refused without a word of their secret.
#include "tls/token.h"

#include <string>
#include <vector>

#include "base/error.h"
#include "tls_scene.h"

using namespace rdzv;
using namespace rdzv::test;
using tls::Role;

namespace {

std::string refusal(const std::string& text) {
  try {
    tls::parse_tokens(text);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "it was taken";
}

}  // namespace

TEST_CASE("a bare secret is a member's of the default name space") {
  const tls::Token token = tls::parse_token("  " + kSecret + "\n");
  CHECK(token.space == "default");
  CHECK(token.role == Role::kMember);
  CHECK(token.secret == kSecret);
}

TEST_CASE("a token that is made can be read, and says whose it is") {
  const std::string random(32, '\xa7');
  for (const Role role : {Role::kMember, Role::kReader, Role::kAdmin}) {
    for (const std::string space : {"default", "team-a.7"}) {
      const tls::Token token = tls::parse_token(tls::token_text(space, role, random));
      CHECK(token.space == space);
      CHECK(token.role == role);
      CHECK(token.secret.size() == 64);
    }
  }
  CHECK_THROWS_AS(tls::token_text("a b", Role::kMember, random), Error);
  CHECK_THROWS_AS(tls::token_text("a", Role::kMember, "short"), Error);
}

TEST_CASE("a file of tokens has one a line, with or without names, and comments") {
  const std::vector<tls::Token> tokens =
      tls::parse_tokens("# of the cluster\n\n" + kSecret + "\r\n  team  reader\t" + kOtherSecret +
                        "\nrendezvous:other:admin:" + kSecret);
  REQUIRE(tokens.size() == 3);
  CHECK(tokens[0].secret == kSecret);
  CHECK(tokens[1].space == "team");
  CHECK(tokens[1].role == Role::kReader);
  CHECK(tokens[1].secret == kOtherSecret);
  CHECK(tokens[2].role == Role::kAdmin);
}

TEST_CASE("lines say what their name space may use, each what it likes, and the same of the same") {
  const std::vector<tls::Token> tokens = tls::parse_tokens(
      kSecret + " keys=7\nteam member " + kSecret + "  keys=100\tbytes=4294967296 \n" +
      "team reader " + kOtherSecret + " waiters=0 keys=100\nteam member " + kOtherSecret +
      "\nrendezvous:other:admin:" + kSecret +
      " connections=5 runs=9223372036854775807 run_bytes=8");
  REQUIRE(tokens.size() == 5);
  CHECK(tokens[0].secret == kSecret);
  CHECK(tokens[1].secret == kSecret);
  CHECK(tokens[4].secret == kSecret);
  const tls::Quotas quotas = tls::quotas_of(tokens);
  REQUIRE(quotas.size() == 3);
  CHECK(quotas.at("default").keys == 7);
  const tls::Quota& team = quotas.at("team");
  CHECK(team.keys == 100);
  CHECK(team.bytes == uint64_t{1} << 32);
  CHECK(team.waiters == 0);
  CHECK_FALSE(team.connections);
  CHECK_FALSE(team.runs);
  CHECK(quotas.at("other").connections == 5);
  CHECK(quotas.at("other").runs == INT64_MAX);
  CHECK(quotas.at("other").run_bytes == 8);
}

TEST_CASE("what is no token is refused: the line and what is wrong, and nothing of the secret") {
  struct Case {
    std::string text;
    std::string says;
  };
  const Case cases[] = {
      {"", "no token"},
      {"# only a comment\n", "no token"},
      {"tooshort", "8 bytes"},
      {std::string(2000, 's'), "2000 bytes"},
      {"fine-and-long-enough\ntooshort", "line 2"},
      {"team " + kSecret, "name space, role and secret"},
      {"team owner " + kSecret, "'owner'"},
      {"te/am member " + kSecret, "'te/am'"},
      {"team " + kSecret + " member", "role of 32 bytes"},
      {"te/" + kSecret + " member " + kSecret, "name space of 35 bytes"},
      {"team member " + kSecret + " " + kSecret, "behind the secret stands a word of 32 bytes"},
      {kSecret + " keys=5 more", "behind the secret stands 'more', not a setting"},
      {"team member " + kSecret + " size=5", "no setting 'size'; settings are keys=N, bytes=N"},
      {"team member " + kSecret + " " + kSecret + "=", "no setting a word of 32 bytes"},
      {"team member " + kSecret + " keys=many", "the setting keys is 'many'; it must be a whole"},
      {"team member " + kSecret + " keys=", "the setting keys is ''"},
      {"team member " + kSecret + " keys=-1", "the setting keys is '-1'"},
      {"team member " + kSecret + " keys=1k", "the setting keys is '1k'"},
      {"team member " + kSecret + " bytes=9223372036854775808", "bytes is a word of 19 bytes"},
      {"team member " + kSecret + " keys=" + kSecret, "the setting keys is a word of 32 bytes"},
      {"team member " + kSecret + " keys=1 runs=1 keys=2", "keys stands there twice"},
      {"a member " + kSecret + " runs=5\n\na reader " + kSecret + " keys=5 runs=6",
       "line 3: the setting runs is 6, and in line 1, of the same name space, it is 5"},
      {kSecret + " keys=5\ndefault admin " + kSecret + " keys=6", "in line 1"},
      {"team member keys=5", "secret of 6 bytes"},
      {"rendezvous:team:" + kSecret, "name space, role and secret"},
      {"rendezvous::member:" + kSecret, "''"},
      {"0123456789abcdef\x01", "control character"},
  };
  for (const Case& c : cases) {
    const std::string said = refusal(c.text);
    CHECK_MESSAGE(contains(said, c.says), said);
    CHECK_FALSE(contains(said, kSecret));
    CHECK_FALSE(contains(said, "tooshort"));
  }
}
