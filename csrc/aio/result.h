// What is in a NativeResult, for Cython, which knows no std::variant; and what went wrong, outside of
// any exception.
#pragma once

#include <exception>
#include <string>
#include <system_error>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/error_class.h"
#include "client/native_operations.h"

namespace rdzv::aio {

// The numbers by which Cython's side tells them apart: further kinds go to the end.
template <size_t kKind, typename T>
inline constexpr bool kIs = std::is_same_v<std::variant_alternative_t<kKind, NativeResult>, T>;
static_assert(kIs<0, std::monostate> && kIs<8, std::vector<TakenBytes>> && kIs<9, RunJoined>);
static_assert(kIs<13, RunLeft> && kIs<14, RunStatus> && kIs<15, RunPage> && kIs<16, RunFollowed> &&
              kIs<17, PrefixChanges>);
inline int kind_of(const NativeResult& result) {
  return static_cast<int>(result.index());
}
template <typename T>
const T& in(const NativeResult& result) {
  return std::get<T>(result);
}

// The exception that is being handled.
struct Failure {
  std::string class_name;
  std::string message;
  Missing missing;
};
inline Failure failure_of(const Error& error) {
  return {class_of(error), error.message(), error.missing()};
}
inline Failure current_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return failure_of(error);
  } catch (const std::exception& error) {
    return {"StoreError", error.what(), {}};
  }
}

}  // namespace rdzv::aio
