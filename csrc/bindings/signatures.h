// Makes inspect.signature and help() show the arguments of what pybind11 has bound.
#pragma once

#include <pybind11/pybind11.h>

namespace rdzv {

// Of all classes and functions of the module; called once, at its end.
void give_signatures(pybind11::module_& module);

}  // namespace rdzv
