#include "base/text.h"

#include <algorithm>
#include <cstdio>

namespace rdzv {

std::string printable(Bytes bytes) {
  std::string text;
  for (const char byte : bytes) {
    const auto code = static_cast<unsigned char>(byte);
    if (code < 0x20 || code == 0x7F) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\x%02x", code);
      text += escaped;
    } else {
      text += byte;
    }
  }
  return text;
}

std::string quoted(Bytes bytes, size_t shown_max) {
  return "'" + printable(bytes.substr(0, shown_max)) + (bytes.size() > shown_max ? "...'" : "'");
}

std::string quoted_list(const std::vector<Bytes>& items, size_t count) {
  constexpr size_t kShownMax = 10;
  std::string text;
  for (size_t i = 0; i < items.size() && i < kShownMax; ++i) {
    if (i > 0) text += ", ";
    text += quoted(items[i]);
  }
  size_t all = std::max(count, items.size());
  size_t shown = std::min(items.size(), kShownMax);
  if (all > shown) text += " and " + std::to_string(all - shown) + " more";
  return text;
}

std::string counted(uint64_t count, Bytes one) {
  return std::to_string(count).append(" ").append(one).append(count == 1 ? "" : "s");
}

std::string seconds_text(Duration duration) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3f", to_seconds(duration));
  std::string trimmed(text);
  trimmed.erase(trimmed.find_last_not_of('0') + 1);
  if (trimmed.back() == '.') trimmed.pop_back();
  return trimmed + " s";
}

}  // namespace rdzv
