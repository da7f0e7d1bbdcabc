#include <pybind11/pybind11.h>

#include "base/version.h"
#include "bindings/bindings.h"
#include "bindings/build_info.h"
#include "bindings/convert.h"
#include "bindings/signatures.h"

namespace {

constexpr const char* kOneInterpreter =
    "rendezvous cannot be imported in a subinterpreter: its threads, signals and errors belong to "
    "the main interpreter; import it there";

bool in_subinterpreter() {
  return PyInterpreterState_Get() != PyInterpreterState_Main();
}

}  // namespace

// As rendezvous._core, under whose name PyInit__core below lets pybind11 make it: pybind11 must not
// begin in a subinterpreter of Python 3.11 or older, where it waits for the main one's GIL.
PYBIND11_MODULE(_core_of_main_interpreter, module) {
  // Newer ones let the main interpreter begin, and a subinterpreter go on.
  if (in_subinterpreter()) throw pybind11::import_error(kOneInterpreter);
  module.doc() = "The compiled core: stores, the store server and the rulebook of a rendezvous.";
  module.attr("__version__") = rdzv::kVersion;
  module.attr("build_commit") = rdzv::build_commit();
  module.attr("build_compiler") = rdzv::build_compiler();
  rdzv::import_datetime();
  rdzv::bind_gil(module);
  rdzv::bind_errors(module);
  rdzv::bind_logging(module);
  rdzv::bind_stores(module);
  rdzv::bind_file_store(module);
  rdzv::bind_server(module);
  rdzv::bind_group(module);
  rdzv::bind_run_client(module);
  rdzv::bind_dial(module);
  rdzv::bind_census(module);
  rdzv::give_signatures(module);
}

extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  if (in_subinterpreter()) {
    PyErr_SetString(PyExc_ImportError, kOneInterpreter);
    return nullptr;
  }
  return PyInit__core_of_main_interpreter();
}
