// The version of the distribution; the build reads it from here.
#pragma once

namespace rdzv {

inline constexpr char kVersion[] = "0.2.0";

}  // namespace rdzv
