// Objects that live in one process say so when somebody pickles or copies them, and what to do.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

namespace rdzv {

// `why`: "it holds a connection; give the other process ...". For pickle, copy.copy and
// copy.deepcopy, which all ask __reduce__ in the end; a class derived in Python may have its own.
template <typename Class>
void refuse_pickling(Class& type, std::string why) {
  type.def("__reduce__", [why](pybind11::handle self) -> pybind11::object {
    std::string name = pybind11::str(pybind11::type::handle_of(self).attr("__name__"));
    throw pybind11::type_error("a " + name + " cannot be pickled or copied: " + why);
  });
}

}  // namespace rdzv
