// What torch's stores do not have: asked of the object where it has it, else made of what it has.
#include "base/error.h"
#include "bindings/convert.h"
#include "bindings/foreign_convert.h"
#include "bindings/foreign_store.h"
#include "bindings/python_store.h"
#include "store/exchange.h"

namespace py = pybind11;

namespace rdzv {
namespace {

Store::Versioned versioned_from(const py::object& value, uint64_t version) {
  Store::Versioned versioned;
  if (value.is_none()) return versioned;
  versioned.value = value_from(value);
  versioned.version = version;
  return versioned;
}

}  // namespace

Store::Versioned ForeignStore::try_get(Bytes key) {
  return with_gil([&] {
    if (!has("try_get")) return composed_try_get(key);
    return versioned_from(method("try_get")(foreign_key(key)), 1);
  });
}

Store::Versioned ForeignStore::composed_try_get(Bytes key) {
  Versioned versioned;
  std::optional<std::string> value = read_now(key);
  if (!value) return versioned;
  versioned.value = std::move(*value);
  versioned.version = 1;
  return versioned;
}

Store::Versioned ForeignStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  return with_gil([&] {
    py::tuple answer = method("watch")(foreign_key(key), known_version, foreign_timeout(timeout));
    return versioned_from(answer[0], answer[1].cast<uint64_t>());
  });
}

Store::VersionSet ForeignStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  return with_gil([&] {
    py::tuple answer = method("set_if_version")(foreign_key(key), foreign_value(value), version);
    VersionSet result;
    result.version = answer[0].cast<uint64_t>();
    result.swapped = answer[1].cast<bool>();
    return result;
  });
}

void ForeignStore::set_for(Bytes key, Bytes value, Duration ttl) {
  with_gil([&] {
    py::object set = method("set");
    if (!takes("set", "ttl")) throw_missing("set", "takes no ttl: its keys live for ever");
    set(foreign_key(key), foreign_value(value), py::arg("ttl") = timedelta_from(ttl));
  });
}

int64_t ForeignStore::delete_prefix(Bytes prefix) {
  if (!has("delete_prefix")) return composed_delete_prefix(prefix);
  return with_gil([&] { return method("delete_prefix")(foreign_key(prefix)).cast<int64_t>(); });
}

int64_t ForeignStore::composed_delete_prefix(Bytes prefix) {
  int64_t count = 0;
  for (const std::string& key : list_keys(prefix)) count += delete_key(key) ? 1 : 0;
  return count;
}

std::vector<std::string> ForeignStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                                Bytes value, Duration timeout) {
  if (!has("exchange")) return composed_exchange(key, rank, world_size, value, timeout);
  return with_gil([&] {
    return values_from(method("exchange")(foreign_key(key), rank, world_size, foreign_value(value),
                                          foreign_timeout(timeout)));
  });
}

// The object's own timeout error names keys, if anything; whoever exchanges thinks in ranks.
std::vector<std::string> ForeignStore::composed_exchange(Bytes key, int64_t rank,
                                                         int64_t world_size, Bytes value,
                                                         Duration timeout) {
  Deadline deadline = Deadline::after(timeout);
  std::vector<int64_t> missing;
  try {
    return Store::exchange(key, rank, world_size, value, timeout);
  } catch (const py::error_already_set&) {
    if (!deadline.passed()) throw;
    for (int64_t other = 0; other < world_size; ++other) {
      std::string slot = exchange_slot(key, other);
      if (!check({slot})) missing.push_back(other);
    }
    if (missing.empty()) throw;
  }
  throw Error(ErrorCode::kTimeout,
              exchange_timeout_text(key, missing, world_size, deadline.elapsed()) + " (" +
                  describe() + ")");
}

std::shared_ptr<Store> ForeignStore::clone(Duration timeout) {
  return with_gil([&] {
    if (!takes("clone", "timeout")) return store_from_python(method("clone")());
    return store_from_python(method("clone")(py::arg("timeout") = foreign_timeout(timeout)));
  });
}

std::string ForeignStore::describe() const {
  return with_gil([&] {
    py::type type = py::type::of(object());
    std::string module = py::str(type.attr("__module__"));
    std::string name = py::str(type.attr("__qualname__"));
    return module + "." + name;
  });
}

Duration ForeignStore::timeout() const {
  return with_gil([&] {
    py::object own = py::getattr(object(), "timeout", py::none());
    return own.is_none() ? Store::timeout() : duration_from(own);
  });
}

void ForeignStore::set_timeout(Duration timeout) {
  with_gil([&] {
    if (!py::hasattr(object(), "set_timeout")) return Store::set_timeout(timeout);
    object().attr("set_timeout")(timedelta_from(timeout));
  });
}

}  // namespace rdzv
