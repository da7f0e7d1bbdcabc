// The operations of every store on values, for Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/stores.h"

namespace py = pybind11;

namespace rdzv {
namespace {

std::vector<Bytes> pairs_of(const BytesListArg& keys, const ValueListArg& values) {
  if (keys.views.size() != values.values.size()) {
    throw Error(ErrorCode::kInvalidArgument, "multi_set: " + std::to_string(keys.views.size()) +
                                                 " keys but " +
                                                 std::to_string(values.values.size()) + " values");
  }
  std::vector<Bytes> pairs;
  pairs.reserve(2 * keys.views.size());
  for (size_t i = 0; i < keys.views.size(); ++i) {
    pairs.push_back(keys.views[i]);
    pairs.push_back(values.values[i].view);
  }
  return pairs;
}

}  // namespace

void bind_single_key_operations(StoreClass& store) {
  store
      .def(
          "set",
          [](Store& self, BytesArg key, const ValueArg& value, const std::optional<TtlArg>& ttl) {
            Duration time = ttl ? ttl->duration : kForever;
            without_gil([&] { self.set_for(key.view, value.view, time); });
          },
          py::arg("key"), py::arg("value"), py::arg("ttl") = py::none(),
          R"(Set the value of a key. Acknowledged: when it returns, the store has the value.

ttl: time to live, as timedelta or seconds, more than 0; then the key is deleted, unless it was set again.
set, compare_set, multi_set and set_if_version replace the time to live (without a ttl: the key never expires); add and append
keep it.
Raises StoreUnsupportedError for a ttl over the c10d protocol.)")
      .def(
          "get",
          [](Store& self, BytesArg key, const std::optional<TimeoutArg>& timeout) {
            return to_python(
                without_gil([&] { return self.read(key.view, timeout_of(self, timeout)); }));
          },
          py::arg("key"), py::arg("timeout") = py::none(),
          R"(The value of a key; waits until there is one, up to `timeout` (default: the store's; 0: do not wait).

Raises StoreKeysMissingError when the key is not there, StoreNoAnswerError when the store does not answer.)")
      .def(
          "compare_set",
          [](Store& self, BytesArg key, const ValueArg& expected, const ValueArg& desired) {
            Store::Exchange result = without_gil(
                [&] { return self.compare_exchange(key.view, expected.view, desired.view); });
            return result.swapped  ? to_python(desired.view)
                   : result.exists ? to_python(result.value)
                                   : to_python(expected.view);
          },
          py::arg("key"), py::arg("expected"), py::arg("desired"),
          R"(Set `desired` if the value equals `expected`, or if there is none and `expected` is empty.

Returns what is there afterwards; for a missing key, when nothing was set, `expected` (as torch's stores do).)")
      .def(
          "compare_exchange",
          [](Store& self, BytesArg key, const ValueArg& expected, const ValueArg& desired) {
            Store::Exchange result = without_gil(
                [&] { return self.compare_exchange(key.view, expected.view, desired.view); });
            return py::make_tuple(to_python(result.swapped ? desired.view : Bytes(result.value)),
                                  result.swapped);
          },
          py::arg("key"), py::arg("expected"), py::arg("desired"),
          "Like compare_set, but returns (the value now there, or b\"\"; whether it was swapped).")
      .def(
          "add",
          [](Store& self, BytesArg key, IntArg amount) {
            int64_t number = amount.as("the amount of add");
            return without_gil([&] { return self.add(key.view, number); });
          },
          py::arg("key"), py::arg("amount"),
          R"(Add to the decimal 64-bit number at a key (missing: 0) and return the sum.

Raises StoreValueError, and changes nothing, when the value is not a number or the sum does not fit.)")
      .def(
          "delete_key",
          [](Store& self, BytesArg key) {
            return without_gil([&] { return self.delete_key(key.view); });
          },
          py::arg("key"), "Delete a key. Returns whether it was there.")
      .def(
          "append",
          [](Store& self, BytesArg key, const ValueArg& value) {
            without_gil([&] { self.append(key.view, value.view); });
          },
          py::arg("key"), py::arg("value"), "Add to the end of a value; a missing key is created.");
}

void bind_many_key_operations(StoreClass& store) {
  store
      .def(
          "check",
          [](Store& self, const BytesListArg& keys) {
            return without_gil([&] { return self.check(keys.views); });
          },
          py::arg("keys"), "Whether all of the keys are there now.")
      .def(
          "wait",
          [](Store& self, const BytesListArg& keys, const std::optional<TimeoutArg>& timeout) {
            without_gil([&] { self.wait(keys.views, timeout_of(self, timeout)); });
          },
          py::arg("keys"), py::arg("timeout") = py::none(),
          R"(Wait until all of the keys are there, up to `timeout` (default: the store's; 0: now or never).

Raises StoreKeysMissingError, which names the missing keys.)")
      .def(
          "multi_get",
          [](Store& self, const BytesListArg& keys, const std::optional<TimeoutArg>& timeout) {
            return to_python(without_gil(
                [&] { return self.multi_read(keys.views, timeout_of(self, timeout)); }));
          },
          py::arg("keys"), py::arg("timeout") = py::none(),
          "The values of several keys at one moment; waits like wait() until all are there.")
      .def(
          "multi_set",
          [](Store& self, const BytesListArg& keys, const ValueListArg& values) {
            std::vector<Bytes> pairs = pairs_of(keys, values);
            without_gil([&] { self.multi_set(pairs); });
          },
          py::arg("keys"), py::arg("values"),
          "Set several keys atomically: readers see all of them or none.")
      .def(
          "num_keys", [](Store& self) { return without_gil([&] { return self.num_keys(); }); },
          "The number of keys, including the store's internal ones.")
      .def(
          "list_keys",
          [](Store& self, BytesArg prefix) {
            std::vector<std::string> keys =
                without_gil([&] { return self.list_keys(prefix.view); });
            py::list list(keys.size());
            for (size_t i = 0; i < keys.size(); ++i) list[i] = key_to_python(keys[i]);
            return list;
          },
          py::arg("prefix") = "", "The keys that begin with `prefix`, sorted.");
}

}  // namespace rdzv
