// Job tokens as text: who holds one (a name space and a role) and the secret that proves it. No
// message ever shows a secret. Pure: knows no file, no key and no OpenSSL.
//
//   SECRET                        the default name space, member
//   rendezvous:SPACE:ROLE:SECRET  what `rendezvous token --space SPACE --role ROLE` makes
//
// A file holds one a line, or `SPACE ROLE SECRET`; behind it, settings of the name space (quota.h).
// Empty lines and those that begin with '#' say nothing. Clients use the first, servers take all, so
// that an old one and a new one hold together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "tls/quota.h"

namespace rdzv::tls {

enum class Role : uint8_t {
  kMember,  // everything, in its name space
  kReader,  // looks and watches
  kAdmin,   // everything, in all name spaces
};
const char* role_text(Role role);
// Whether a name space can have this name.
bool is_space(Bytes name);

inline constexpr Bytes kDefaultSpace = "default";
inline constexpr size_t kSpaceBytesMax = 64;
inline constexpr size_t kSecretBytesMin = 16;
inline constexpr size_t kSecretBytesMax = 1024;
inline constexpr size_t kTokensMax = 4096;

struct Token {
  std::string space{kDefaultSpace};
  Role role = Role::kMember;
  std::string secret;
  Quota quota{};  // what its line says
};

// Both throw kInvalidArgument: what is wrong, and in which line. Space around a token does not
// count.
Token parse_token(Bytes text);
// Lines of one name space that say a setting say the same.
std::vector<Token> parse_tokens(Bytes text);
// What all lines of each name space say.
Quotas quotas_of(const std::vector<Token>& tokens);
// The text of a token with a secret of these random bytes, 16 or more.
std::string token_text(Bytes space, Role role, Bytes random);

}  // namespace rdzv::tls
