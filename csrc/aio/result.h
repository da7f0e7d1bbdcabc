// What is in a NativeResult, for Cython, which knows no std::variant; and what went wrong, outside of
// any exception.
#pragma once

#include <exception>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/error_class.h"
#include "client/native_operations.h"

namespace rdzv::aio {

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
