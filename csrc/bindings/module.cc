#include <pybind11/pybind11.h>

#include "base/version.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core: stores, the store server and the rulebook of a rendezvous.";
  module.attr("__version__") = rdzv::kVersion;
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
}
