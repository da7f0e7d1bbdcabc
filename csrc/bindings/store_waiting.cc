// The operations of every store on versions, queues, barriers and exchanges, for Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/stores.h"

namespace py = pybind11;

namespace rdzv {
namespace {

py::object value_or_none(const Store::Versioned& versioned) {
  if (versioned.version == 0) return py::none();
  return to_python(versioned.value);
}

}  // namespace

void bind_versions(StoreClass& store) {
  store
      .def(
          "try_get",
          [](Store& self, BytesArg key) {
            return value_or_none(without_gil([&] { return self.try_get(key.view); }));
          },
          py::arg("key"), "The current value of a key, or None. Never waits for the key to be set.")
      .def(
          "watch",
          [](Store& self, BytesArg key, IntArg known_version,
             const std::optional<TimeoutArg>& timeout) {
            uint64_t version = known_version.as_version();
            Store::Versioned now = without_gil(
                [&] { return self.watch(key.view, version, timeout_of(self, timeout)); });
            return py::make_tuple(value_or_none(now), now.version);
          },
          py::arg("key"), py::arg("known_version"), py::arg("timeout") = py::none(),
          R"(Wait until the key's version differs from `known_version`, up to `timeout` (default: the store's; 0: do not wait).

Every write gives the key a new version; 0 is the version of a key that is not there. Returns (value,
version), or (None, 0) when the key was deleted or its time to live ended. So watch(key, 0) waits until the key is there.
Quick successive changes may be seen as one; the last one is always seen.
Raises StoreKeysMissingError when the version is still `known_version`; StoreUnsupportedError over the c10d protocol.)")
      .def(
          "set_if_version",
          [](Store& self, BytesArg key, const ValueArg& value, IntArg version) {
            uint64_t expected = version.as_version();
            Store::VersionSet result =
                without_gil([&] { return self.set_if_version(key.view, value.view, expected); });
            return py::make_tuple(result.version, result.swapped);
          },
          py::arg("key"), py::arg("value"), py::arg("version"),
          R"(Set the value if the key's version is `version` (0: if the key is not there).

Returns (version now there, whether it was set). Versions come from watch and from here.
Raises StoreUnsupportedError over the c10d protocol.)")
      .def(
          "delete_prefix",
          [](Store& self, BytesArg prefix) {
            return without_gil([&] { return self.delete_prefix(prefix.view); });
          },
          py::arg("prefix"),
          R"(Delete the keys that begin with `prefix`, atomically; returns how many there were. Queues stay.

Over the c10d protocol, and over foreign stores, the keys are deleted one by one.)");
}

void bind_queues_and_barrier(StoreClass& store) {
  store
      .def(
          "queue_push",
          [](Store& self, BytesArg key, const ValueArg& value) {
            without_gil([&] { self.queue_push(key.view, value.view); });
          },
          py::arg("key"), py::arg("value"),
          R"(Add an item to the end of a queue.

Queues have a separate name space: num_keys, list_keys and get do not see them; check and wait see a queue that has
items.)")
      .def(
          "queue_pop",
          [](Store& self, BytesArg key, bool block, const std::optional<TimeoutArg>& timeout) {
            return to_python(without_gil(
                [&] { return self.queue_pop(key.view, block, timeout_of(self, timeout)); }));
          },
          py::arg("key"), py::arg("block") = true, py::arg("timeout") = py::none(),
          R"(Take the first item of a queue; waits for one, up to `timeout` (default: the store's).

When there is none, raises QueueEmptyError without `block`, StoreKeysMissingError with it.)")
      .def(
          "queue_len",
          [](Store& self, BytesArg key) {
            return without_gil([&] { return self.queue_len(key.view); });
          },
          py::arg("key"), "The number of items in a queue.")
      .def(
          "barrier",
          [](Store& self, BytesArg key, IntArg world_size, const std::optional<TimeoutArg>& timeout,
             const std::optional<IntArg>& rank, const std::optional<IntArg>& round) {
            Store::Seat seat;
            seat.world_size = world_size.as("the world_size of barrier");
            if (!rank && round) {
              throw Error(ErrorCode::kInvalidArgument, "barrier: round needs rank; pass both");
            }
            if (rank) seat.rank = rank->as("the rank of barrier");
            if (round) seat.round = round->as("the round of barrier");
            without_gil([&] { self.barrier_as(key.view, seat, timeout_of(self, timeout)); });
          },
          py::arg("key"), py::arg("world_size"), py::arg("timeout") = py::none(),
          py::arg("rank") = py::none(), py::arg("round") = py::none(),
          R"(Wait until `world_size` callers have arrived at this key, up to `timeout` (default: the store's).

rank: the caller's, 0 ... world_size - 1. A rank that comes again after a timeout counts once, and the error names the missing
ranks. Without rank, the number at the key counts the callers, and a caller that times out no longer counts.
round: 1, 2, 3, ..., counted by each rank itself, so that one key can be used again and again (class Barrier counts for you).
Raises StoreKeysMissingError when not all have arrived in time; StoreValueError when the key was used before: for more callers
than `world_size`, another world_size, or a rank that has passed the round.)");
}

void bind_exchange(StoreClass& store) {
  store.def(
      "exchange",
      [](Store& self, BytesArg key, IntArg rank, IntArg world_size, const ValueArg& value,
         const std::optional<TimeoutArg>& timeout) {
        int64_t own = rank.as("the rank of exchange");
        int64_t all = world_size.as("the world_size of exchange");
        return to_python(without_gil([&] {
          return self.exchange(key.view, own, all, value.view, timeout_of(self, timeout));
        }));
      },
      py::arg("key"), py::arg("rank"), py::arg("world_size"), py::arg("value"),
      py::arg("timeout") = py::none(),
      R"(All-gather: give this rank's value, wait for all ranks, and return the values of all, by rank.

The values stay at `key`/0 ... `key`/(world_size - 1) and their count at `key`: use a key once. A rank that comes again, for
example after a timeout, gives its value again and counts once. `timeout`: default the store's.
Raises StoreKeysMissingError, which names the missing ranks; StoreValueError for a rank outside of 0 ... world_size - 1, and
when the key was used before: for another world_size, or with another value of this rank in a finished exchange.)");
}

}  // namespace rdzv
