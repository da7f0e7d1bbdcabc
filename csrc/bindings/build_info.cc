// What this build is made of. The only file that is compiled anew for another commit.
#include <pybind11/pybind11.h>

#include <string>

#include "bindings/bindings.h"

#ifndef RDZV_COMMIT
#define RDZV_COMMIT ""
#endif

namespace py = pybind11;

namespace rdzv {
namespace {

std::string compiler() {
#if defined(__clang__)
  return std::string("Clang ") + __clang_version__;
#elif defined(__GNUC__)
  return std::string("GCC ") + __VERSION__;
#else
  return "another compiler";
#endif
}

}  // namespace

void bind_build_info(py::module_& module) {
  module.attr("build_commit") = RDZV_COMMIT;
  module.attr("build_compiler") = compiler();
}

}  // namespace rdzv
