// What a store that is a Python object gets and returns. All of it runs with the GIL held.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace rdzv {

// A str, which torch's stores want, or bytes where the key is no UTF-8.
pybind11::object foreign_key(Bytes key);
pybind11::list foreign_keys(const std::vector<Bytes>& keys);
pybind11::bytes foreign_value(Bytes value);
// In whole milliseconds, as torch's stores count; some of them take 0 for "no limit", which only
// a timeout of 0 becomes here.
pybind11::object foreign_timeout(Duration timeout);
std::string value_from(const pybind11::object& value);
std::vector<std::string> values_from(const pybind11::object& values);

}  // namespace rdzv
