// Letting go of the GIL while the core works, and getting it back. Knows the interpreter's threads
// and its end, nothing of stores.
#pragma once

#include <pybind11/pybind11.h>

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/log.h"

namespace rdzv {

// Whether this is Python's main thread, the only one that runs signal handlers. Needs no GIL.
bool on_main_thread();

// Sleeps for ever.
[[noreturn]] void park_thread();

// Runs what may run Python code, or take the GIL, below frames of ours. CPython before 3.14 ends a
// daemon thread that does so while the interpreter goes down by unwinding it: past this frame it
// would let go of Python objects without the GIL, and end the process where an exception must not
// leave. So the thread stays here, as it does in CPython from 3.14 on.
template <typename Function>
auto calling_python(Function&& function) -> decltype(function()) {
#ifdef __GLIBCXX__
  try {
    return function();
  } catch (abi::__forced_unwind&) {
    park_thread();
  }
#else
  return function();
#endif
}

// Takes the GIL back. In a daemon thread whose interpreter is going down it does not return:
// see calling_python.
void take_gil_back(PyThreadState* state);

// Does not return in a daemon thread whose interpreter is going down.
void wait_while_finalizing();

// Hands what was logged to Python's `logging`. `failing`: another error is on its way, so that one
// of this is only reported.
void deliver_log_records(bool failing);

// Not pybind11::gil_scoped_release, which takes the GIL back in its destructor.
template <typename Function>
auto without_gil(Function&& function) -> decltype(function()) {
  using Result = decltype(function());
  std::conditional_t<std::is_void_v<Result>, char, std::optional<Result>> result{};
  std::exception_ptr failure;
  PyThreadState* state = PyEval_SaveThread();
  try {
    if constexpr (std::is_void_v<Result>) {
      function();
    } else {
      result.emplace(function());
    }
  } catch (...) {
    failure = std::current_exception();
  }
  take_gil_back(state);
  if (LogQueue::instance().is_left_alone()) deliver_log_records(failure != nullptr);
  if (failure) std::rethrow_exception(failure);
  if constexpr (!std::is_void_v<Result>) return std::move(*result);
}

}  // namespace rdzv
