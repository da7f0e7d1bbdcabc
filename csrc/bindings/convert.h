// What crosses the border between Python and the core: bytes in, timeouts in, keys in, bytes out.
// Knows Python and the core's plain types, no store. All of it runs with the GIL held.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "store/taken_bytes.h"

namespace rdzv {

// A str (as UTF-8, with the surrogate escapes of list_keys) or bytes argument; a view that lives as
// long as the argument and this.
struct BytesArg {
  Bytes view;
  pybind11::object kept;
};

// A value: str (as UTF-8), bytes, bytearray or memoryview. What its owner may change while the GIL
// is released is copied.
struct ValueArg {
  pybind11::object kept;
  Bytes view;
};

// Keys, from any iterable. It keeps the items alive, because a list may change while the GIL is
// released.
struct BytesListArg {
  pybind11::tuple items;
  std::vector<pybind11::object> kept;
  std::vector<Bytes> views;
};

// Values, from any iterable.
struct ValueListArg {
  pybind11::tuple items;
  std::vector<ValueArg> values;
};

// A datetime.timedelta, or seconds as int or float. Infinity means no limit.
struct TimeoutArg {
  Duration duration{};
};

// As a timeout, for how long a key is to live.
struct TtlArg {
  Duration duration{};
};

// An int, converted once the caller says what it is of ("the amount of add").
struct IntArg {
  pybind11::handle object;
  int64_t as(const char* what) const;
  uint64_t as_version() const;
};

// Once, when the module is made: when the interpreter goes down, stores can still be called, but
// nothing can be imported.
void import_datetime();

// A view of the object, or of what is put into `kept`.
Bytes bytes_from(pybind11::handle object, const char* what, pybind11::object& kept);
ValueArg value_from(pybind11::handle object, const char* what);
BytesListArg bytes_list_from(pybind11::handle object);
ValueListArg value_list_from(pybind11::handle object);
// `what`: "a timeout".
Duration duration_from(pybind11::handle object, const char* what = "a timeout");
// Raises ValueError for what is no port.
uint16_t port_from(int port);

// Large bytes are copied without the GIL, so they belong to somebody whom no other thread of
// Python can reach: a result that is on its way out.
pybind11::bytes to_python(Bytes bytes);
pybind11::list to_python(const std::vector<TakenBytes>& values);
// Keys that are no UTF-8 keep their bytes as surrogate escapes.
pybind11::str key_to_python(const std::string& key);
std::string key_from_python(pybind11::handle key);
// Messages quote what peers and users sent: bytes that are no UTF-8 are shown as \\xff, because not
// every handler of a log can write surrogates.
pybind11::str message_to_python(const std::string& message);
pybind11::object timedelta_from(Duration duration);

[[noreturn]] inline void refuse(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

// Python's own conversion would only say "incompatible function arguments".
template <typename T>
T whole_number(const char* name, const pybind11::int_& value, T min, T max) {
  const auto refuse_value = [&] {
    refuse(std::string(name) + " is " + std::string(pybind11::str(value)) + "; it must be from " +
           std::to_string(min) + " to " + std::to_string(max));
  };
  if (pybind11::int_(min) > value || pybind11::int_(max) < value) refuse_value();
  return value.cast<T>();
}

}  // namespace rdzv

namespace pybind11::detail {

template <>
struct type_caster<rdzv::BytesArg> {
  PYBIND11_TYPE_CASTER(rdzv::BytesArg, const_name("str | bytes"));
  bool load(handle source, bool) {
    value.view = rdzv::bytes_from(source, "a key or value", value.kept);
    return true;
  }
};

template <>
struct type_caster<rdzv::ValueArg> {
  PYBIND11_TYPE_CASTER(rdzv::ValueArg, const_name("str | bytes | bytearray | memoryview"));
  bool load(handle source, bool) {
    value = rdzv::value_from(source, "a key or value");
    return true;
  }
};

template <>
struct type_caster<rdzv::ValueListArg> {
  PYBIND11_TYPE_CASTER(
      rdzv::ValueListArg,
      const_name("collections.abc.Iterable[str | bytes | bytearray | memoryview]"));
  bool load(handle source, bool) {
    value = rdzv::value_list_from(source);
    return true;
  }
};

template <>
struct type_caster<rdzv::BytesListArg> {
  PYBIND11_TYPE_CASTER(rdzv::BytesListArg, const_name("collections.abc.Iterable[str | bytes]"));
  bool load(handle source, bool) {
    value = rdzv::bytes_list_from(source);
    return true;
  }
};

template <>
struct type_caster<rdzv::TimeoutArg> {
  PYBIND11_TYPE_CASTER(rdzv::TimeoutArg, const_name("datetime.timedelta | float"));
  bool load(handle source, bool) {
    value.duration = rdzv::duration_from(source);
    return true;
  }
};

template <>
struct type_caster<rdzv::TtlArg> {
  PYBIND11_TYPE_CASTER(rdzv::TtlArg, const_name("datetime.timedelta | float"));
  bool load(handle source, bool) {
    value.duration = rdzv::duration_from(source, "a time to live");
    return true;
  }
};

template <>
struct type_caster<rdzv::IntArg> {
  PYBIND11_TYPE_CASTER(rdzv::IntArg, const_name("int"));
  bool load(handle source, bool) {
    value.object = source;
    return true;
  }
};

}  // namespace pybind11::detail
