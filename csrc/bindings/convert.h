// What crosses the border between Python and the core: bytes in, timeouts in, keys in, bytes out.
// Knows Python and the core's plain types, no store. All of it runs with the GIL held.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace rdzv {

// A str (as UTF-8) or bytes argument; a view that lives as long as the argument.
struct BytesArg {
  Bytes view;
};

// A list of keys or values. It keeps the items alive, because the list may change while the GIL is
// released.
struct BytesListArg {
  pybind11::tuple items;
  std::vector<Bytes> views;
};

// A datetime.timedelta, or seconds as int or float. Infinity means no limit.
struct TimeoutArg {
  Duration duration{};
};

// An int that fits 64 bits.
struct AmountArg {
  int64_t value = 0;
};

Bytes bytes_from(pybind11::handle object, const char* what);
BytesListArg bytes_list_from(pybind11::handle object);
Duration duration_from(pybind11::handle object);
int64_t amount_from(pybind11::handle object);
// Raises ValueError for what is no port.
uint16_t port_from(int port);

pybind11::bytes to_python(const std::string& bytes);
pybind11::list to_python(const std::vector<std::string>& values);
// Keys that are no UTF-8 keep their bytes as surrogate escapes.
pybind11::str key_to_python(const std::string& key);
// Messages quote what peers and users sent: bytes that are no UTF-8 are shown as \\xff, because not
// every handler of a log can write surrogates.
pybind11::str message_to_python(const std::string& message);
pybind11::object timedelta_from(Duration duration);

}  // namespace rdzv

namespace pybind11::detail {

template <>
struct type_caster<rdzv::BytesArg> {
  PYBIND11_TYPE_CASTER(rdzv::BytesArg, const_name("str | bytes"));
  bool load(handle source, bool) {
    value.view = rdzv::bytes_from(source, "a key or value");
    return true;
  }
};

template <>
struct type_caster<rdzv::BytesListArg> {
  PYBIND11_TYPE_CASTER(rdzv::BytesListArg, const_name("collections.abc.Sequence[str | bytes]"));
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
struct type_caster<rdzv::AmountArg> {
  PYBIND11_TYPE_CASTER(rdzv::AmountArg, const_name("int"));
  bool load(handle source, bool) {
    value.value = rdzv::amount_from(source);
    return true;
  }
};

}  // namespace pybind11::detail
