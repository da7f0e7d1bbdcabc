// A Python object that C++ holds, and calls without knowing whether it has the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include <utility>

#include "bindings/gil.h"

namespace rdzv {

// Runs `function` with the GIL, from any thread, whether or not it has the GIL now.
template <typename Function>
auto with_gil(Function&& function) -> decltype(function()) {
  wait_while_finalizing();
  pybind11::gil_scoped_acquire gil;
  return function();
}

// Drops its reference with the GIL, or not at all once the interpreter is gone.
class PythonObject {
 public:
  explicit PythonObject(pybind11::object object) : object_(std::move(object)) {}
  PythonObject(const PythonObject&) = delete;
  PythonObject& operator=(const PythonObject&) = delete;
  ~PythonObject() {
    if (Py_IsInitialized() == 0) {
      object_.release();
      return;
    }
    with_gil([&] { object_ = pybind11::object(); });
  }

  const pybind11::object& get() const { return object_; }

 private:
  pybind11::object object_;
};

}  // namespace rdzv
