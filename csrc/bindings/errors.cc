// Turns the core's error codes into the classes of rendezvous._base.errors, and lets blocking calls ask
// Python for signals.
#include <pybind11/pybind11.h>

#include <system_error>

#include "base/error.h"
#include "base/error_class.h"
#include "base/interrupt.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"

namespace py = pybind11;

namespace rdzv {
namespace {

// The names in rendezvous._base.errors. Kept, because stores can be called while the interpreter goes
// down, which empties its modules.
py::handle g_classes;

void raise(const Error& error) {
  if (error.code() == ErrorCode::kInterrupted) {
    // The signal's handler has left its exception; without one there would be nothing to raise.
    if (PyErr_Occurred() == nullptr) PyErr_SetNone(PyExc_KeyboardInterrupt);
    return;
  }
  // A signal's handler has closed the store and raised: what it raised is what the caller asked for.
  if (PyErr_Occurred() != nullptr) return;
  py::object type = g_classes[class_of(error)];
  py::object made = type(message_to_python(error.message()));
  const Missing& missing = error.missing();
  if (!missing.keys.empty() || !missing.ranks.empty()) {
    py::list keys, ranks;
    for (const std::string& key : missing.keys) keys.append(key_to_python(key));
    for (int64_t rank : missing.ranks) ranks.append(rank);
    made.attr("keys") = keys;
    made.attr("ranks") = ranks;
  }
  PyErr_SetObject(type.ptr(), made.ptr());
}

// Only the main thread asks: others have no handlers to run, and one that took the GIL while the
// interpreter goes down would not come back.
bool python_signals_pending() {
  if (!on_main_thread()) return false;
  py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

}  // namespace

void bind_errors(py::module_&) {
  py::object errors = py::module_::import("rendezvous._base.errors");
  g_classes = py::dict(errors.attr("__dict__").attr("copy")()).release();
  set_interrupt_check(&python_signals_pending);
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      calling_python([&] { raise(error); });
    } catch (const std::system_error& error) {
      // What the system refused without our asking: pybind11 would make it a plain RuntimeError.
      calling_python([&] {
        raise(Error(ErrorCode::kConnection,
                    "the system refused a resource: " + refusal_text(error.code().value())));
      });
    }
  });
}

}  // namespace rdzv
