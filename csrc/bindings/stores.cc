// The class Store with what all compiled stores have, and HashStore. The operations are in
// store_values.cc and store_waiting.cc.
#include "bindings/stores.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/pickling.h"
#include "store/closable_store.h"
#include "store/hash_store.h"

namespace py = pybind11;

namespace rdzv {
namespace {

// Torch refuses what is none of its stores with a TypeError of pybind11's, whose text is fixed but
// for the repr of what it was given: the one place for a word on what to do. As _stores/store.py's.
std::string hint_for_torch() {
  PyObject* globals = PyEval_GetGlobals();
  PyObject* name = globals == nullptr ? nullptr : PyDict_GetItemString(globals, "__name__");
  if (name == nullptr || !PyUnicode_Check(name)) return "";
  const bool is_torch = py::cast<std::string>(name).starts_with("torch.");
  return is_torch ? "; pass rendezvous.torch.as_torch_store(store) to torch instead" : "";
}

class HashStoreHold final : public ClosableStore {
 public:
  HashStoreHold() : ClosableStore(std::make_shared<HashStore>()) {}
  explicit HashStoreHold(std::shared_ptr<Store> store) : ClosableStore(std::move(store)) {}

 private:
  std::shared_ptr<Store> hold(std::shared_ptr<Store> clone) override {
    return std::make_shared<HashStoreHold>(std::move(clone));
  }
};

void bind_store(py::module_& module) {
  StoreClass store(module, "Store",
                   "The base class of the compiled stores. It is registered with rendezvous.Store, "
                   "which defines the contract.");
  bind_single_key_operations(store);
  bind_many_key_operations(store);
  bind_versions(store);
  bind_queues_and_barrier(store);
  bind_exchange(store);
  store
      .def(
          "set_timeout",
          [](Store& self, TimeoutArg timeout) { self.set_timeout(timeout.duration); },
          py::arg("timeout"), "Set the default timeout of calls.")
      .def_property_readonly(
          "timeout", [](const Store& self) { return timedelta_from(self.timeout()); },
          "The default timeout of calls; initially 300 s.")
      .def(
          "clone",
          [](Store& self, const std::optional<TimeoutArg>& timeout) {
            return without_gil([&] { return self.clone(timeout_of(self, timeout)); });
          },
          py::arg("timeout") = py::none(),
          "A second store object for the same data, with its own connection and timeout, closed "
          "separately. The clone of a HashStore shares its values. timeout: for opening it; None: "
          "this store's.")
      .def(
          "has_extended_api", [](const Store&) { return true; },
          "Whether append, multi_get and multi_set are supported: always True here.")
      .def(
          "close", [](Store& self) { without_gil([&] { self.close(); }); },
          "Close this object. Waiting and later calls raise StoreClosedError. May be called again.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](Store& self, py::args) { without_gil([&] { self.close(); }); })
      .def("__repr__", [](const Store& self) {
        return "<rendezvous." + self.describe() + hint_for_torch() + ">";
      });
  refuse_pickling(store, "it belongs to this process; create a store in the other process");
}

void bind_hash_store(py::module_& module) {
  py::class_<HashStoreHold, Store, std::shared_ptr<HashStoreHold>> type(
      module, "HashStore", py::is_final(),
      R"(A store in the memory of this process, for its threads and for tests.

Its values go when it and its clones are closed, or gone.)");
  type.def(py::init<>());
  refuse_pickling(type,
                  "it is in the memory of this process; use a FileStore or a TCPStore, which other "
                  "processes can reach");
}

}  // namespace

void bind_stores(py::module_& module) {
  bind_store(module);
  bind_hash_store(module);
  bind_prefix_store(module);
  bind_tcp_store(module);
}

}  // namespace rdzv
