// What the files that bind the stores share. Knows Python and the interface of a store.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>

#include "bindings/convert.h"
#include "client/tcp_store.h"
#include "store/store.h"

// Python sees a TCPStore, of either kind.
template <>
struct pybind11::polymorphic_type_hook<rdzv::Store> {
  static const void* get(const rdzv::Store* store, const std::type_info*& type) {
    const auto* tcp = dynamic_cast<const rdzv::TCPStore*>(store);
    type = tcp != nullptr ? &typeid(rdzv::TCPStore) : store != nullptr ? &typeid(*store) : nullptr;
    return dynamic_cast<const void*>(store);
  }
};

namespace rdzv {

using StoreClass = pybind11::class_<Store, std::shared_ptr<Store>>;

// The timeout of a call that may have one of its own. Without the GIL: a store written in Python
// is asked for its own.
inline Duration timeout_of(const Store& store, const std::optional<TimeoutArg>& timeout) {
  return timeout ? timeout->duration : store.timeout();
}

void bind_single_key_operations(StoreClass& store);
void bind_many_key_operations(StoreClass& store);
void bind_versions(StoreClass& store);
void bind_queues_and_barrier(StoreClass& store);
void bind_exchange(StoreClass& store);
void bind_tcp_store(pybind11::module_& module);
void bind_prefix_store(pybind11::module_& module);

}  // namespace rdzv
