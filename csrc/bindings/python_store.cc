#include "bindings/python_store.h"

#include "base/error.h"
#include "store/prefix_store.h"

namespace py = pybind11;

namespace rdzv {

std::unique_ptr<ForeignStore> PythonStore::overridden() const {
  return with_gil([&] {
    // Finds the Python object that this is a part of.
    py::object self = py::cast(static_cast<const Store*>(this), py::return_value_policy::reference);
    return std::make_unique<ForeignStore>(std::move(self));
  });
}

void PythonStore::throw_missing(const char* method) const {
  throw Error(ErrorCode::kUnsupported,
              describe() + "." + method + ": the store's class has no such method");
}

Store::Exchange PythonStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  return overridden()->compare_exchange(key, expected, desired);
}

std::shared_ptr<Store> store_from_python(const py::object& object) {
  if (py::isinstance<Store>(object)) {
    auto store = object.cast<std::shared_ptr<Store>>();
    if (dynamic_cast<PythonStore*>(store.get()) == nullptr) return store;
  }
  auto foreign = std::make_shared<ForeignStore>(object);
  for (const char* method : {"get", "set"}) {
    if (foreign->has(method)) continue;
    throw py::type_error("a store is expected, not a " + foreign->describe() +
                         ": it has no method '" + method + "'");
  }
  return foreign;
}

bool has_extended_api(const Store& store) {
  if (const auto* prefixed = dynamic_cast<const PrefixStore*>(&store))
    return has_extended_api(*prefixed->underlying_store());
  if (const auto* foreign = dynamic_cast<const ForeignStore*>(&store))
    return foreign->has_extended_api();
  if (const auto* base = dynamic_cast<const PythonStore*>(&store)) return base->has_extended_api();
  return true;
}

}  // namespace rdzv
