#include "bindings/convert.h"

#include <datetime.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "bindings/gil.h"

namespace py = pybind11;

namespace rdzv {
namespace {

std::string type_name(py::handle object) {
  return Py_TYPE(object.ptr())->tp_name;
}

// What a loop goes over, once. One string is not taken for a list of its letters.
py::tuple items_of(py::handle object) {
  if (PyUnicode_Check(object.ptr()) || PyBytes_Check(object.ptr()) ||
      PyByteArray_Check(object.ptr()) || PyMemoryView_Check(object.ptr())) {
    throw py::type_error("expected a list of str or bytes, not one " + type_name(object) +
                         "; put it into a list");
  }
  if (Py_TYPE(object.ptr())->tp_iter == nullptr && PySequence_Check(object.ptr()) == 0)
    throw py::type_error("expected a list of str or bytes, not " + type_name(object));
  py::tuple items = py::reinterpret_steal<py::tuple>(
      calling_python([&] { return PySequence_Tuple(object.ptr()); }));
  if (!items) throw py::error_already_set();
  return items;
}

py::str decode(const std::string& bytes, const char* errors) {
  PyObject* text =
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), errors);
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

py::object index_of(py::handle object) {
  py::object number = py::reinterpret_steal<py::object>(
      calling_python([&] { return PyNumber_Index(object.ptr()); }));
  if (!number) throw py::error_already_set();
  return number;
}

}  // namespace

void import_datetime() {
  PyDateTime_IMPORT;
  if (PyDateTimeAPI == nullptr) throw py::error_already_set();
}

// Keys that are no UTF-8 come from list_keys with surrogate escapes, and go back as they were.
Bytes bytes_from(py::handle object, const char* what, py::object& kept) {
  if (PyUnicode_Check(object.ptr())) {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
    if (data != nullptr) return Bytes(data, static_cast<size_t>(size));
    PyErr_Clear();
    kept = py::reinterpret_steal<py::object>(
        PyUnicode_AsEncodedString(object.ptr(), "utf-8", "surrogateescape"));
    if (!kept) throw py::error_already_set();
    object = kept;
  }
  if (PyBytes_Check(object.ptr())) {
    return Bytes(PyBytes_AS_STRING(object.ptr()),
                 static_cast<size_t>(PyBytes_GET_SIZE(object.ptr())));
  }
  throw py::type_error(std::string(what) + " must be str or bytes, not " + type_name(object));
}

ValueArg value_from(py::handle object, const char* what) {
  ValueArg value;
  if (PyByteArray_Check(object.ptr()) || PyMemoryView_Check(object.ptr())) {
    value.kept = py::reinterpret_steal<py::object>(PyBytes_FromObject(object.ptr()));
    if (!value.kept) throw py::error_already_set();
    object = value.kept;
  }
  py::object encoded;
  value.view = bytes_from(object, what, encoded);
  if (encoded) value.kept = std::move(encoded);
  return value;
}

BytesListArg bytes_list_from(py::handle object) {
  BytesListArg list;
  list.items = items_of(object);
  list.views.reserve(list.items.size());
  for (py::handle item : list.items) {
    py::object kept;
    list.views.push_back(bytes_from(item, "each item", kept));
    if (kept) list.kept.push_back(std::move(kept));
  }
  return list;
}

ValueListArg value_list_from(py::handle object) {
  ValueListArg list;
  list.items = items_of(object);
  list.values.reserve(list.items.size());
  for (py::handle item : list.items) list.values.push_back(value_from(item, "each item"));
  return list;
}

Duration duration_from(py::handle object, const char* what) {
  if (PyDelta_Check(object.ptr())) {
    PyObject* delta = object.ptr();
    auto days = static_cast<int64_t>(PyDateTime_DELTA_GET_DAYS(delta));
    if (days < 0) throw py::value_error(std::string(what) + " must not be negative");
    constexpr int64_t kDaysMax =
        std::chrono::duration_cast<std::chrono::hours>(kForever) / std::chrono::hours(24);
    if (days >= kDaysMax) return kForever;  // nanoseconds would overflow
    return std::chrono::hours(24) * days +
           std::chrono::seconds(PyDateTime_DELTA_GET_SECONDS(delta)) +
           std::chrono::microseconds(PyDateTime_DELTA_GET_MICROSECONDS(delta));
  }
  if (PyBool_Check(object.ptr()) || !(PyFloat_Check(object.ptr()) || PyLong_Check(object.ptr()))) {
    throw py::type_error(std::string(what) +
                         " must be a datetime.timedelta or a number of seconds, not " +
                         type_name(object));
  }
  double seconds = PyFloat_AsDouble(object.ptr());
  if (seconds == -1.0 && PyErr_Occurred() != nullptr) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError) == 0) throw py::error_already_set();
    PyErr_Clear();  // an int beyond all measure
    int overflow = 0;
    PyLong_AsLongLongAndOverflow(object.ptr(), &overflow);
    if (overflow > 0) return kForever;
  }
  if (std::isnan(seconds) || seconds < 0)
    throw py::value_error(std::string(what) + " must not be negative or NaN");
  return from_seconds(seconds);
}

int64_t IntArg::as(const char* what) const {
  if (!PyIndex_Check(object.ptr()))
    throw py::type_error(std::string(what) + " must be an int, not " + type_name(object));
  py::object number = index_of(object);
  int overflow = 0;
  int64_t value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
  if (overflow != 0) {
    throw Error(
        ErrorCode::kInvalidArgument,
        std::string(what) + ": " + std::string(py::str(object)) + " does not fit in 64 bits");
  }
  return value;
}

uint64_t IntArg::as_version() const {
  if (!PyIndex_Check(object.ptr()))
    throw py::type_error("a version must be an int, not " + type_name(object));
  py::object number = index_of(object);
  uint64_t version = PyLong_AsUnsignedLongLong(number.ptr());
  if (version == UINT64_MAX && PyErr_Occurred() != nullptr) {
    PyErr_Clear();
    throw Error(
        ErrorCode::kInvalidArgument,
        "version " + std::string(py::str(object)) +
            " is not a version; pass 0, or a version that watch or set_if_version returned");
  }
  return version;
}

uint16_t port_from(int port) {
  if (port < 0 || port > 65535) {
    throw py::value_error("port " + std::to_string(port) + " is not between 0 and 65535");
  }
  return static_cast<uint16_t>(port);
}

namespace {

// The copy of so much takes longer than the GIL's way to another thread and back.
constexpr size_t kLargeBytes = 256 * 1024;

// Of large bytes only the room for them, which fill_large() fills.
py::bytes begun(Bytes bytes) {
  PyObject* made = PyBytes_FromStringAndSize(bytes.size() < kLargeBytes ? bytes.data() : nullptr,
                                             static_cast<Py_ssize_t>(bytes.size()));
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::bytes>(made);
}

// Without the GIL: nobody else knows the new object.
void fill_large(const py::bytes& made, Bytes bytes) {
  if (bytes.size() < kLargeBytes) return;
  without_gil([&] { std::memcpy(PyBytes_AS_STRING(made.ptr()), bytes.data(), bytes.size()); });
}

}  // namespace

py::bytes to_python(Bytes bytes) {
  py::bytes made = begun(bytes);
  fill_large(made, bytes);
  return made;
}

py::list to_python(const std::vector<TakenBytes>& values) {
  py::list list(values.size());
  for (size_t i = 0; i < values.size(); ++i) list[i] = begun(values[i]);
  // The list is whole before another thread can run.
  for (size_t i = 0; i < values.size(); ++i)
    fill_large(py::reinterpret_borrow<py::bytes>(list[i]), values[i]);
  return list;
}

py::str key_to_python(const std::string& key) {
  return decode(key, "surrogateescape");
}

std::string key_from_python(py::handle key) {
  if (PyBytes_Check(key.ptr())) return key.cast<std::string>();
  py::bytes bytes = py::reinterpret_borrow<py::str>(key).attr("encode")("utf-8", "surrogateescape");
  return bytes;
}

py::str message_to_python(const std::string& message) {
  return decode(message, "backslashreplace");
}

py::object timedelta_from(Duration duration) {
  auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(duration - seconds);
  constexpr int64_t kDay = 24 * 3600;
  PyObject* delta = PyDelta_FromDSU(static_cast<int>(seconds.count() / kDay),
                                    static_cast<int>(seconds.count() % kDay),
                                    static_cast<int>(microseconds.count()));
  if (delta == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(delta);
}

}  // namespace rdzv
