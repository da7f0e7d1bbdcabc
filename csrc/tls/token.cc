#include "tls/token.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace rdzv::tls {
namespace {

constexpr Bytes kPrefix = "rendezvous:";
constexpr Bytes kBlanks = " \t\r\n";
constexpr Role kRoles[] = {Role::kMember, Role::kReader, Role::kAdmin};

[[noreturn]] void throw_bad(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, "the token " + what + "; `rendezvous token` makes one");
}

Bytes trimmed(Bytes text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == Bytes::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool may_be_in_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

// A word that is as long as a secret may be one, in the wrong place.
std::string shown(Bytes word) {
  if (word.size() < kSecretBytesMin) return quoted(word);
  return "of " + std::to_string(word.size()) + " bytes";
}

std::string checked_space(Bytes space) {
  if (is_space(space)) return std::string(space);
  throw_bad("names the name space " + shown(space) + ", which must be 1 to " +
            std::to_string(kSpaceBytesMax) + " letters, digits, '-', '_' or '.'");
}

Role checked_role(Bytes text) {
  for (const Role role : kRoles) {
    if (text == role_text(role)) return role;
  }
  throw_bad("names the role " + shown(text) + ", which must be member, reader or admin");
}

std::string checked_secret(Bytes secret) {
  if (secret.size() < kSecretBytesMin) {
    throw_bad("has a secret of " + std::to_string(secret.size()) +
              " bytes; it must have at least " + std::to_string(kSecretBytesMin));
  }
  if (secret.size() > kSecretBytesMax) {
    throw_bad("has a secret of " + std::to_string(secret.size()) + " bytes, more than " +
              std::to_string(kSecretBytesMax));
  }
  if (std::ranges::any_of(secret, [](unsigned char c) { return c <= ' ' || c == 0x7f; }))
    throw_bad("has a blank or a control character in its secret");
  return std::string(secret);
}

// Takes what stands before `end`, and `end`, off the front. None: it is not there.
std::optional<Bytes> take_until(Bytes& text, Bytes ends) {
  const size_t at = text.find_first_of(ends);
  if (at == Bytes::npos) return std::nullopt;
  const Bytes taken = text.substr(0, at);
  text = trimmed(text.substr(at + 1));
  return taken;
}

[[noreturn]] void throw_no_parts() {
  throw_bad("has no name space, role and secret");
}

Token token_of(Bytes space, Bytes role, Bytes secret) {
  return {checked_space(space), checked_role(role), checked_secret(secret)};
}

Token parse_parts(Bytes text) {
  const std::optional<Bytes> space = take_until(text, ":");
  const std::optional<Bytes> role = take_until(text, ":");
  if (!space || !role) throw_no_parts();
  return token_of(*space, *role, text);
}

std::vector<Bytes> words_of(Bytes line) {
  std::vector<Bytes> words;
  while (!line.empty()) {
    const size_t end = line.find_first_of(kBlanks);
    words.push_back(line.substr(0, end));
    line = end == Bytes::npos ? Bytes() : trimmed(line.substr(end));
  }
  return words;
}

// A token in one word or in three, and settings. No role has a '='.
Token parse_line(Bytes line) {
  const std::vector<Bytes> words = words_of(line);
  const bool is_one_word = words.size() == 1 || words[1].find('=') != Bytes::npos;
  if (!is_one_word && words.size() < 3) throw_no_parts();
  Token token = is_one_word ? parse_token(words[0]) : token_of(words[0], words[1], words[2]);
  for (size_t i = is_one_word ? 1 : 3; i < words.size(); ++i) token.quota.take(words[i]);
  return token;
}

// Which line has said a setting of a name space first.
class Said {
 public:
  void check(const Token& token, size_t line) {
    for (const Quota::Field& field : Quota::fields()) {
      const std::optional<uint64_t>& value = token.quota.*field.value;
      if (!value) continue;
      const auto [found, is_new] =
          first_.try_emplace({token.space, field.name}, Setting{line, *value});
      if (is_new || found->second.value == *value) continue;
      throw Error(ErrorCode::kInvalidArgument,
                  "the setting " + std::string(field.name) + " is " + std::to_string(*value) +
                      ", and in line " + std::to_string(found->second.line) +
                      ", of the same name space, it is " + std::to_string(found->second.value) +
                      "; give all lines of a name space the same, or one of them alone");
    }
  }

 private:
  struct Setting {
    size_t line;
    uint64_t value;
  };
  std::map<std::pair<std::string, Bytes>, Setting> first_;
};

}  // namespace

const char* role_text(Role role) {
  switch (role) {
    case Role::kMember:
      return "member";
    case Role::kReader:
      return "reader";
    case Role::kAdmin:
      return "admin";
  }
  return "member";
}

bool is_space(Bytes name) {
  return !name.empty() && name.size() <= kSpaceBytesMax &&
         std::ranges::all_of(name, may_be_in_name);
}

Token parse_token(Bytes text) {
  text = trimmed(text);
  if (text.starts_with(kPrefix)) return parse_parts(text.substr(kPrefix.size()));
  Token token;
  token.secret = checked_secret(text);
  return token;
}

std::vector<Token> parse_tokens(Bytes text) {
  std::vector<Token> tokens;
  Said said;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const Bytes line = trimmed(text.substr(0, end));
    text = end == Bytes::npos ? Bytes() : text.substr(end + 1);
    if (line.empty() || line.front() == '#') continue;
    if (tokens.size() == kTokensMax) {
      throw Error(ErrorCode::kInvalidArgument,
                  "there are more than " + std::to_string(kTokensMax) + " tokens");
    }
    try {
      tokens.push_back(parse_line(line));
      said.check(tokens.back(), number);
    } catch (const Error& error) {
      throw Error(error.code(), "line " + std::to_string(number) + ": " + error.message());
    }
  }
  if (tokens.empty()) throw Error(ErrorCode::kInvalidArgument, "there is no token in it");
  return tokens;
}

Quotas quotas_of(const std::vector<Token>& tokens) {
  Quotas quotas;
  for (const Token& token : tokens) {
    for (const Quota::Field& field : Quota::fields()) {
      const std::optional<uint64_t>& value = token.quota.*field.value;
      if (value) quotas[token.space].*field.value = value;
    }
  }
  return quotas;
}

std::string token_text(Bytes space, Role role, Bytes random) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string secret;
  for (const char byte : random) {
    secret += kDigits[static_cast<unsigned char>(byte) >> 4];
    secret += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  if (space == kDefaultSpace && role == Role::kMember) return checked_secret(secret);
  return std::string(kPrefix) + checked_space(space) + ":" + role_text(role) + ":" +
         checked_secret(secret);
}

}  // namespace rdzv::tls
