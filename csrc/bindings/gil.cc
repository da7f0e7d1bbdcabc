#include "bindings/gil.h"

#include <unistd.h>

#include <atomic>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace rdzv {
namespace {
std::atomic<unsigned long> g_main_thread{0};
}  // namespace

bool on_main_thread() {
  return PyThread_get_thread_ident() == g_main_thread.load();
}

void park_thread() {
  while (true) ::pause();
}

void wait_while_finalizing() {
#if PY_VERSION_HEX >= 0x030D0000
  bool finalizing = Py_IsFinalizing() != 0;
#else
  bool finalizing = _Py_IsFinalizing() != 0;
#endif
  // The finalizing thread itself may still call stores, from an object's __del__.
  if (finalizing && !on_main_thread()) park_thread();
}

void take_gil_back(PyThreadState* state) {
  wait_while_finalizing();
  // It may go down while this waits.
  calling_python([&] { PyEval_RestoreThread(state); });
}

void bind_gil(py::module_&) {
  py::object main_thread = py::module_::import("threading").attr("main_thread")();
  g_main_thread = main_thread.attr("ident").cast<unsigned long>();
  // In a forked child the thread that forked is the main one.
  py::module_::import("os").attr("register_at_fork")(
      py::arg("after_in_child") =
          py::cpp_function([] { g_main_thread = PyThread_get_thread_ident(); }));
}

}  // namespace rdzv
