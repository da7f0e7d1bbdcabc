// What this build is made of.
#pragma once

#include <string>

namespace rdzv {

const char* build_commit();  // empty: not known
std::string build_compiler();

}  // namespace rdzv
