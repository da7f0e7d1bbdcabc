// The only file that is compiled anew for another commit, so it includes little.
#include "bindings/build_info.h"

#ifndef RDZV_COMMIT
#define RDZV_COMMIT ""
#endif

namespace rdzv {

const char* build_commit() {
  return RDZV_COMMIT;
}

std::string build_compiler() {
#if defined(__clang__)
  return std::string("Clang ") + __clang_version__;
#elif defined(__GNUC__)
  return std::string("GCC ") + __VERSION__;
#else
  return "another compiler";
#endif
}

}  // namespace rdzv
