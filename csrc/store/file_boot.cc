#include "store/file_boot.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <string>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace rdzv {
namespace {

std::string boot_text() {
  std::string text;
#ifdef __APPLE__
  char uuid[64] = {};
  size_t size = sizeof(uuid) - 1;
  if (::sysctlbyname("kern.bootsessionuuid", uuid, &size, nullptr, 0) == 0) text = uuid;
#else
  std::ifstream("/proc/sys/kernel/random/boot_id") >> text;
#endif
  return text;
}

// "83ad22f4-da5a-438e-8995-0b8dcf149656"
BootId read_boot() {
  std::string digits = boot_text();
  std::erase(digits, '-');
  BootId id{};
  auto is_hex = [](unsigned char one) { return std::isxdigit(one) != 0; };
  if (digits.size() != 2 * id.size() || !std::all_of(digits.begin(), digits.end(), is_hex))
    return id;
  for (size_t i = 0; i < id.size(); ++i)
    std::from_chars(&digits[2 * i], &digits[2 * i] + 2, id[i], 16);
  return id;
}

}  // namespace

BootId this_boot() {
  static const BootId id = read_boot();
  return id;
}

}  // namespace rdzv
