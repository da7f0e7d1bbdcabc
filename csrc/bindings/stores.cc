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
  return is_torch ? "; torch takes rendezvous.torch.as_torch_store(store) in its place" : "";
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
                   "What all compiled stores are. The contract is that of rendezvous.Store, which "
                   "this class is registered with.");
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
          "For another user of the same store: with a connection and a timeout of its own, where "
          "it has them, and closed by itself. The clone of a HashStore has the same values. "
          "timeout: for opening it; None: the store's.")
      .def(
          "has_extended_api", [](const Store&) { return true; },
          "Whether append, multi_get and multi_set are there. In all our stores they are.")
      .def(
          "close", [](Store& self) { without_gil([&] { self.close(); }); },
          "End this object's use of the store: later calls raise StoreClosedError, and those that "
          "wait end with it. May be called again.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](Store& self, py::args) { without_gil([&] { self.close(); }); })
      .def("__repr__", [](const Store& self) {
        return "<rendezvous." + self.describe() + hint_for_torch() + ">";
      });
  refuse_pickling(store,
                  "it is a store of this process; give the other process what it can make one of "
                  "its own of");
}

void bind_hash_store(py::module_& module) {
  py::class_<HashStoreHold, Store, std::shared_ptr<HashStoreHold>> type(
      module, "HashStore", py::is_final(),
      R"(A store in the memory of this process, for its threads and for tests.

Its values go when it and its clones are closed, or gone.)");
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
