// The version of the distribution; the build reads it from here.
#pragma once

namespace rdzv {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace rdzv
