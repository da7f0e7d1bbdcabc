// What the role of a connection's token lets it do. Which right an operation needs stands in its
// protocol's one table: native_table.cc, and right_of() of c10d.
#pragma once

#include <cstdint>
#include <string>

#include "tls/token.h"

namespace rdzv {

enum class Right : uint8_t {
  kLook,    // it reads, waits or watches, and nobody notices
  kChange,  // it changes or consumes
};

inline bool may(tls::Role role, Right right) {
  return right == Right::kLook || role != tls::Role::kReader;
}

inline std::string refused_right_text(const std::string& operation) {
  return operation +
         ": the token of this connection has the role reader, which may look and watch; this needs "
         "a token whose role is member or admin";
}

}  // namespace rdzv
