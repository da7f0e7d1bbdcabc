#include "tls/quota.h"

#include <charconv>

#include "base/error.h"
#include "base/text.h"

namespace rdzv::tls {
namespace {

// Less than a secret has: it may stand in the wrong place.
constexpr size_t kShownMax = 15;

[[noreturn]] void throw_bad(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
}

std::string shown(Bytes word) {
  if (word.size() <= kShownMax) return quoted(word);
  return "a word of " + std::to_string(word.size()) + " bytes";
}

std::string names() {
  std::string text;
  for (const Quota::Field& field : Quota::fields())
    text += (text.empty() ? "" : ", ") + std::string(field.name) + "=N";
  return text;
}

uint64_t number_from(Bytes text, const char* name) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, number);
  if (text.empty() || at != end || error != std::errc() || number > INT64_MAX) {
    throw_bad("the setting " + std::string(name) + " is " + shown(text) +
              "; it must be a whole number, 0 or more");
  }
  return number;
}

}  // namespace

std::span<const Quota::Field> Quota::fields() {
  static constexpr Field kFields[] = {
      {"keys", &Quota::keys},
      {"bytes", &Quota::bytes},
      {"connections", &Quota::connections},
      {"runs", &Quota::runs},
      {"run_bytes", &Quota::run_bytes},
      {"waiters", &Quota::waiters},
  };
  static_assert(sizeof(Quota) == std::size(kFields) * sizeof(std::optional<uint64_t>));
  return kFields;
}

void Quota::take(Bytes setting) {
  const size_t at = setting.find('=');
  if (at == Bytes::npos) {
    throw_bad("behind the secret stands " + shown(setting) + ", not a setting; settings are " +
              names());
  }
  const Bytes name = setting.substr(0, at);
  for (const Field& field : fields()) {
    if (name != field.name) continue;
    const uint64_t value = number_from(setting.substr(at + 1), field.name);
    std::optional<uint64_t>& own = this->*field.value;
    if (own && *own != value)
      throw_bad("the setting " + std::string(name) + " stands there twice, with two values");
    own = value;
    return;
  }
  throw_bad("there is no setting " + shown(name) + "; settings are " + names());
}

}  // namespace rdzv::tls
