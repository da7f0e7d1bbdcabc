#include "bindings/foreign_convert.h"

#include <chrono>

#include "bindings/convert.h"

namespace py = pybind11;

namespace rdzv {

py::object foreign_key(Bytes key) {
  PyObject* text = PyUnicode_DecodeUTF8(key.data(), static_cast<Py_ssize_t>(key.size()), "strict");
  if (text != nullptr) return py::reinterpret_steal<py::object>(text);
  PyErr_Clear();
  return py::bytes(key.data(), key.size());
}

py::bytes foreign_value(Bytes value) {
  return py::bytes(value.data(), value.size());
}

py::list foreign_keys(const std::vector<Bytes>& keys) {
  py::list list;
  for (Bytes key : keys) list.append(foreign_key(key));
  return list;
}

py::object foreign_timeout(Duration timeout) {
  return timedelta_from(std::chrono::ceil<std::chrono::milliseconds>(timeout));
}

std::string value_from(const py::object& value) {
  return std::string(bytes_from(value, "a value that a store returns"));
}

std::vector<std::string> values_from(const py::object& values) {
  std::vector<std::string> strings;
  for (py::handle value : py::iter(values))
    strings.push_back(value_from(py::reinterpret_borrow<py::object>(value)));
  return strings;
}

}  // namespace rdzv
