#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "client/tcp_store.h"
#include "store/hash_store.h"
#include "store/prefix_store.h"
#include "store/store.h"

namespace py = pybind11;

namespace rdzv {
namespace {

using StoreClass = py::class_<Store, std::shared_ptr<Store>>;

Duration timeout_of(const Store& store, const std::optional<TimeoutArg>& timeout) {
  return timeout ? timeout->duration : store.timeout();
}

std::vector<Bytes> pairs_of(const BytesListArg& keys, const BytesListArg& values) {
  if (keys.views.size() != values.views.size()) {
    throw Error(ErrorCode::kInvalidArgument, "multi_set: " + std::to_string(keys.views.size()) +
                                                 " keys but " +
                                                 std::to_string(values.views.size()) + " values");
  }
  std::vector<Bytes> pairs;
  pairs.reserve(2 * keys.views.size());
  for (size_t i = 0; i < keys.views.size(); ++i) {
    pairs.push_back(keys.views[i]);
    pairs.push_back(values.views[i]);
  }
  return pairs;
}

void bind_single_key_operations(StoreClass& store) {
  store
      .def(
          "set",
          [](Store& self, BytesArg key, BytesArg value) {
            without_gil([&] { self.set(key.view, value.view); });
          },
          py::arg("key"), py::arg("value"),
          "Set the value of a key. Acknowledged: when it returns, the store has it.")
      .def(
          "get",
          [](Store& self, BytesArg key, const std::optional<TimeoutArg>& timeout) {
            return to_python(
                without_gil([&] { return self.get(key.view, timeout_of(self, timeout)); }));
          },
          py::arg("key"), py::arg("timeout") = py::none(),
          R"(The value of a key; waits until there is one, up to `timeout` (default: the store's; 0: now or never).

Raises StoreTimeoutError.)")
      .def(
          "compare_set",
          [](Store& self, BytesArg key, BytesArg expected, BytesArg desired) {
            Store::Exchange result = without_gil(
                [&] { return self.compare_exchange(key.view, expected.view, desired.view); });
            return result.exists ? to_python(result.value) : py::bytes(expected.view);
          },
          py::arg("key"), py::arg("expected"), py::arg("desired"),
          R"(Set `desired` if the value equals `expected`, or if there is none and `expected` is empty.

Returns what is there afterwards; for a missing key, when nothing was set, `expected` (as torch's stores do).)")
      .def(
          "compare_exchange",
          [](Store& self, BytesArg key, BytesArg expected, BytesArg desired) {
            Store::Exchange result = without_gil(
                [&] { return self.compare_exchange(key.view, expected.view, desired.view); });
            return py::make_tuple(to_python(result.value), result.swapped);
          },
          py::arg("key"), py::arg("expected"), py::arg("desired"),
          "As compare_set, but returns (value now there, or b\"\"; whether it was swapped).")
      .def(
          "add",
          [](Store& self, BytesArg key, AmountArg amount) {
            return without_gil([&] { return self.add(key.view, amount.value); });
          },
          py::arg("key"), py::arg("amount"),
          R"(Add to the decimal 64-bit number at a key (missing: 0) and return the sum.

Raises StoreValueError, and changes nothing, when the value is no number or the sum does not fit.)")
      .def(
          "delete_key",
          [](Store& self, BytesArg key) {
            return without_gil([&] { return self.delete_key(key.view); });
          },
          py::arg("key"), "Delete a key. Returns whether there was one.")
      .def(
          "append",
          [](Store& self, BytesArg key, BytesArg value) {
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
          py::arg("keys"), "Whether all of the keys are there, now.")
      .def(
          "wait",
          [](Store& self, const BytesListArg& keys, const std::optional<TimeoutArg>& timeout) {
            without_gil([&] { self.wait(keys.views, timeout_of(self, timeout)); });
          },
          py::arg("keys"), py::arg("timeout") = py::none(),
          R"(Wait until all of the keys are there, up to `timeout` (default: the store's; 0: now or never).

Raises StoreTimeoutError, which names the missing keys.)")
      .def(
          "multi_get",
          [](Store& self, const BytesListArg& keys, const std::optional<TimeoutArg>& timeout) {
            return to_python(
                without_gil([&] { return self.multi_get(keys.views, timeout_of(self, timeout)); }));
          },
          py::arg("keys"), py::arg("timeout") = py::none(),
          "The values of several keys as of one moment; waits like wait() until all are there.")
      .def(
          "multi_set",
          [](Store& self, const BytesListArg& keys, const BytesListArg& values) {
            std::vector<Bytes> pairs = pairs_of(keys, values);
            without_gil([&] { self.multi_set(pairs); });
          },
          py::arg("keys"), py::arg("values"),
          "Set several keys at once: nobody sees some of them without the others.")
      .def(
          "num_keys", [](Store& self) { return without_gil([&] { return self.num_keys(); }); },
          "The number of keys, the store's own included.")
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

void bind_queues_and_barrier(StoreClass& store) {
  store
      .def(
          "queue_push",
          [](Store& self, BytesArg key, BytesArg value) {
            without_gil([&] { self.queue_push(key.view, value.view); });
          },
          py::arg("key"), py::arg("value"),
          R"(Add an item to the end of a queue.

Queues are a name space of their own: num_keys, list_keys and get do not see them; check and wait do while they have
items.)")
      .def(
          "queue_pop",
          [](Store& self, BytesArg key, bool block, const std::optional<TimeoutArg>& timeout) {
            return to_python(without_gil(
                [&] { return self.queue_pop(key.view, block, timeout_of(self, timeout)); }));
          },
          py::arg("key"), py::arg("block") = true, py::arg("timeout") = py::none(),
          R"(Take the first item of a queue; waits for one, up to `timeout` (default: the store's).

Without `block`, raises QueueEmptyError when there is none; with it, StoreTimeoutError.)")
      .def(
          "queue_len",
          [](Store& self, BytesArg key) {
            return without_gil([&] { return self.queue_len(key.view); });
          },
          py::arg("key"), "The number of items in a queue.")
      .def(
          "barrier",
          [](Store& self, BytesArg key, AmountArg world_size,
             const std::optional<TimeoutArg>& timeout) {
            without_gil(
                [&] { self.barrier(key.view, world_size.value, timeout_of(self, timeout)); });
          },
          py::arg("key"), py::arg("world_size"), py::arg("timeout") = py::none(),
          R"(Wait until `world_size` callers have come to this key, up to `timeout` (default: the store's).

The key serves once: the number there counts the callers. Raises StoreTimeoutError, which says how many had come.)");
}

void bind_store(py::module_& module) {
  StoreClass store(module, "Store", R"(The contract of every key-value store.

Keys and values are str (stored as UTF-8) or bytes; values come back as bytes. Timeouts are datetime.timedelta or seconds;
blocking calls return or raise within them, plus at most 100 ms. Any thread may call any method at any time.
Errors are StoreError and its kin, which are RuntimeErrors; timeouts are TimeoutErrors as well.)");
  bind_single_key_operations(store);
  bind_many_key_operations(store);
  bind_queues_and_barrier(store);
  store
      .def(
          "set_timeout",
          [](Store& self, TimeoutArg timeout) { self.set_timeout(timeout.duration); },
          py::arg("timeout"), "Set the timeout of calls that name none of their own.")
      .def_property_readonly(
          "timeout", [](const Store& self) { return timedelta_from(self.timeout()); },
          "The timeout of calls that name none of their own; 300 s at first.")
      .def(
          "clone", [](Store& self) { return without_gil([&] { return self.clone(); }); },
          "For another user of the same store: with a connection and a timeout of its own. A "
          "HashStore is its own clone.")
      .def(
          "has_extended_api", [](const Store&) { return true; },
          "Whether append, multi_get, multi_set and queues are there. They are.")
      .def("__repr__", [](const Store& self) { return "<rendezvous." + self.describe() + ">"; });
}

TCPStore::Protocol protocol_from(const std::string& name) {
  if (name == "native") return TCPStore::Protocol::kNative;
  if (name == "c10d") return TCPStore::Protocol::kC10d;
  throw Error(ErrorCode::kInvalidArgument,
              "TCPStore: protocol is " + quoted(name) + "; it must be 'native' or 'c10d'");
}

void bind_tcp_store(py::module_& module) {
  py::class_<TCPStore, Store, std::shared_ptr<TCPStore>>(
      module, "TCPStore", py::is_final(),
      R"(A store on a server, shared by all its clients.

host_name, port: of the server; the master binds them (port 0 picks a free port, see `port`).
world_size: if known, each client counts itself in, and the master waits until all have come (wait_for_workers).
is_master: host the server in this process.
timeout: for connecting (the server may start later than its clients), and the default of blocking calls.
multi_tenant: masters of this process that name the same port share one server.
protocol: "native", or "c10d" to use a server of torch's TCPStore. With "c10d" each call has a connection to itself; it
can say less: an add to what is no number raises StoreConnectionError, as servers just hang up; a torch server with
use_libuv=False has no queues (StoreUnsupportedError); compare_exchange may err on whether it swapped when another
client writes the same value at the same time; a server that lost its data is not noticed; observed_address is this
end's own.
Raises StoreConnectionError, StoreProtocolError, StoreAddressInUseError, StoreTimeoutError.)")
      .def(py::init([](std::string host_name, int port, std::optional<int64_t> world_size,
                       bool is_master, const std::optional<TimeoutArg>& timeout,
                       bool wait_for_workers, bool multi_tenant, const std::string& protocol) {
             TCPStore::Options options;
             options.protocol = protocol_from(protocol);
             options.host = std::move(host_name);
             options.port = port_from(port);
             options.world_size = world_size;
             options.is_master = is_master;
             if (timeout) options.timeout = timeout->duration;
             options.wait_for_workers = wait_for_workers;
             options.multi_tenant = multi_tenant;
             if (is_master) start_logging();
             return without_gil([&] { return std::make_shared<TCPStore>(options); });
           }),
           py::arg("host_name"), py::arg("port"), py::arg("world_size") = py::none(),
           py::arg("is_master") = false, py::arg("timeout") = py::none(),
           py::arg("wait_for_workers") = true, py::arg("multi_tenant") = false,
           py::arg("protocol") = "native")
      .def_property_readonly("host", &TCPStore::host, "The host as it was given.")
      .def_property_readonly("port", &TCPStore::port, "The server's port.")
      .def_property_readonly(
          "protocol",
          [](const TCPStore& self) {
            return self.protocol() == TCPStore::Protocol::kNative ? "native" : "c10d";
          },
          "\"native\" or \"c10d\".")
      .def_property_readonly("observed_address", &TCPStore::observed_address,
                             "The numeric address of this machine as the server sees it.")
      .def(
          "ping", [](TCPStore& self) { without_gil([&] { self.ping(); }); },
          "One round trip. Raises StoreTimeoutError or StoreConnectionError when the server does "
          "not answer.")
      .def(
          "close", [](TCPStore& self) { without_gil([&] { self.close(); }); },
          "End the connection, and the server if this store hosts it. Later calls raise "
          "StoreClosedError.");
}

}  // namespace

void bind_stores(py::module_& module) {
  bind_store(module);
  py::class_<HashStore, Store, std::shared_ptr<HashStore>>(
      module, "HashStore", py::is_final(),
      "A store in the memory of this process, for its threads and for tests.")
      .def(py::init<>());
  py::class_<PrefixStore, Store, std::shared_ptr<PrefixStore>>(
      module, "PrefixStore", py::is_final(),
      "A view of another store in which every key begins with `prefix` and a '/': a name space of "
      "its own.")
      .def(py::init([](BytesArg prefix, std::shared_ptr<Store> store) {
             return std::make_shared<PrefixStore>(prefix.view, std::move(store));
           }),
           py::arg("prefix"), py::arg("store").none(false))
      .def_property_readonly("underlying_store", &PrefixStore::underlying_store,
                             "The store below.");
  bind_tcp_store(module);
}

}  // namespace rdzv
