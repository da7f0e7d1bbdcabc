// PrefixStore for Python, over our stores and over any Python object that is one.
#include "store/prefix_store.h"

#include <pybind11/pybind11.h>

#include <memory>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/foreign_store.h"
#include "bindings/pickling.h"
#include "bindings/python_store.h"
#include "bindings/stores.h"

namespace py = pybind11;

namespace rdzv {
namespace {

// The very object that the store was made from.
py::object underlying(const PrefixStore& store) {
  const std::shared_ptr<Store>& below = store.underlying_store();
  if (const auto* foreign = dynamic_cast<const ForeignStore*>(below.get()))
    return foreign->object();
  return py::cast(below);
}

py::object underlying_non_prefix(const PrefixStore& store) {
  py::object below = underlying(store);
  // Ours and torch's PrefixStores have it, nothing else.
  return py::getattr(below, "_underlying_non_prefix_store", below);
}

}  // namespace

void bind_prefix_store(py::module_& module) {
  py::class_<PrefixStore, Store, std::shared_ptr<PrefixStore>> type(
      module, "PrefixStore", py::is_final(),
      R"(A view of another store in which every key begins with `prefix` and a '/': a name space of its own.

store: one of ours, one of torch's, or any Python object with a store's methods, which get keys as str (bytes where they are no
UTF-8), values as bytes, and timeouts as timedelta. What such a store lacks is made of what it has (compare_exchange of
compare_set, delete_prefix of list_keys and delete_key, exchange of single operations); what cannot be made raises
StoreUnsupportedError, and what the object raises passes through unchanged.
The timeout is the underlying store's. num_keys counts all of that store's keys.)");
  type.def(py::init([](BytesArg prefix, const py::object& store) {
             return std::make_shared<PrefixStore>(prefix.view, store_from_python(store));
           }),
           py::arg("prefix"), py::arg("store").none(false))
      .def_property_readonly("underlying_store", &underlying, "The store below: the very object.")
      .def_property_readonly("_underlying_non_prefix_store", &underlying_non_prefix,
                             "The first store below that is no PrefixStore, of ours or torch's.");
  refuse_pickling(type,
                  "it is a view of a store of this process; give the other process the prefix and "
                  "what it can make the underlying store of");
}

}  // namespace rdzv
