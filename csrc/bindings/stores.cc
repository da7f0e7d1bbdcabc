// The class Store with what all stores have, and HashStore. The operations are in store_values.cc
// and store_waiting.cc.
#include "bindings/stores.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/pickling.h"
#include "bindings/python_store.h"
#include "store/hash_store.h"

namespace py = pybind11;

namespace rdzv {
namespace {

void bind_store(py::module_& module) {
  StoreClass store(
      module, "Store",
      R"(The contract of every key-value store; a class derived in Python is a store too.

Keys and values are str (stored as UTF-8) or bytes; values come back as bytes. Timeouts are datetime.timedelta or seconds;
blocking calls return or raise within them, plus at most 100 ms. Any thread may call any method at any time.
Errors are StoreError and its kin, which are RuntimeErrors; timeouts are TimeoutErrors as well.

A derived class defines the methods that it has, with these names and arguments (timeouts as timedelta, None for the store's),
and calls super().__init__(). Of what it does not define, compare_set and compare_exchange are made of each other, try_get of
check and get, delete_prefix of list_keys and delete_key, exchange of single operations; the rest raises StoreUnsupportedError.)");
  store.def(py::init([] { return std::shared_ptr<Store>(std::make_shared<PythonStore>()); }));
  bind_single_key_operations(store);
  bind_many_key_operations(store);
  bind_versions(store);
  bind_queues_and_barrier(store);
  bind_exchange(store);
  store
      .def(
          "set_timeout",
          [](Store& self, TimeoutArg timeout) { self.set_timeout(timeout.duration); },
          py::arg("timeout"), "Set the timeout of calls that name none of their own.")
      .def_property_readonly(
          "timeout", [](const Store& self) { return timedelta_from(self.timeout()); },
          "The timeout of calls that name none of their own; 300 s at first.")
      .def(
          "clone",
          [](Store& self, const std::optional<TimeoutArg>& timeout) {
            return without_gil([&] { return self.clone(timeout_of(self, timeout)); });
          },
          py::arg("timeout") = py::none(),
          "For another user of the same store: with a connection and a timeout of its own. A "
          "HashStore is its own clone. timeout: for opening it; None: the store's.")
      .def("has_extended_api", &has_extended_api,
           "Whether append, multi_get and multi_set are there. In all our stores they are.")
      .def("__repr__", [](const Store& self) { return "<rendezvous." + self.describe() + ">"; });
  refuse_pickling(store,
                  "it is a store of this process; give the other process what it can make one of "
                  "its own of");
}

void bind_hash_store(py::module_& module) {
  py::class_<HashStore, Store, std::shared_ptr<HashStore>> type(
      module, "HashStore", py::is_final(),
      "A store in the memory of this process, for its threads and for tests.");
  type.def(py::init<>());
  refuse_pickling(type,
                  "it is in the memory of this process; use a FileStore or a TCPStore, which "
                  "other processes can reach");
}

}  // namespace

void bind_stores(py::module_& module) {
  bind_store(module);
  bind_hash_store(module);
  bind_prefix_store(module);
  bind_tcp_store(module);
}

}  // namespace rdzv
