// PrefixStore for Python, over compiled stores; rendezvous/_stores/prefix.py has it over the others.
#include "store/prefix_store.h"

#include <pybind11/pybind11.h>

#include <memory>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/pickling.h"
#include "bindings/stores.h"
#include "store/closable_store.h"

namespace py = pybind11;

namespace rdzv {
namespace {

class PrefixStoreHold final : public ClosableStore {
 public:
  // owns_store: nobody else has it, so that it is closed with the view.
  PrefixStoreHold(std::shared_ptr<PrefixStore> view, bool owns_store)
      : ClosableStore(view), below_(view->underlying_store()), owns_store_(owns_store) {}

  const std::shared_ptr<Store>& underlying_store() const { return below_; }

  void close() override {
    ClosableStore::close();
    if (owns_store_) below_->close();
  }

 private:
  std::shared_ptr<Store> hold(std::shared_ptr<Store> clone) override {
    return std::make_shared<PrefixStoreHold>(std::static_pointer_cast<PrefixStore>(clone), true);
  }

  const std::shared_ptr<Store> below_;
  const bool owns_store_;
};

std::shared_ptr<PrefixStoreHold> make_view(BytesArg prefix, std::shared_ptr<Store> store,
                                           bool owns_store) {
  auto view = std::make_shared<PrefixStore>(prefix.view, std::move(store));
  return std::make_shared<PrefixStoreHold>(std::move(view), owns_store);
}

py::object underlying_non_prefix(const PrefixStoreHold& store) {
  const std::shared_ptr<Store>* below = &store.underlying_store();
  while (const auto* view = dynamic_cast<const PrefixStoreHold*>(below->get()))
    below = &view->underlying_store();
  return py::cast(*below);
}

}  // namespace

void bind_prefix_store(py::module_& module) {
  py::class_<PrefixStoreHold, Store, std::shared_ptr<PrefixStoreHold>> type(
      module, "PrefixStore", py::is_final(),
      R"(A view of another store in which every key begins with `prefix` and '/': a separate name space.

The timeout is the underlying store's. num_keys counts all of that store's keys. close ends the view and leaves the store open,
except for a view made by clone or open_store: there it closes the store, too.)");
  type.def(py::init([](BytesArg prefix, std::shared_ptr<Store> store) {
             return make_view(prefix, std::move(store), false);
           }),
           py::arg("prefix"), py::arg("store").none(false))
      .def_property_readonly(
          "underlying_store",
          [](const PrefixStoreHold& self) { return py::cast(self.underlying_store()); },
          "The store below: the same object that was given.")
      .def_property_readonly("_underlying_non_prefix_store", &underlying_non_prefix,
                             "The first store below that is not a PrefixStore of ours or torch's.");
  module.def(
      "_owning_view",
      [](BytesArg prefix, std::shared_ptr<Store> store) {
        return make_view(prefix, std::move(store), true);
      },
      py::arg("prefix"), py::arg("store").none(false),
      "A PrefixStore that closes its store with it.");
  refuse_pickling(type,
                  "it is a view of a store of this process; create the store and the view in the "
                  "other process");
}

}  // namespace rdzv
