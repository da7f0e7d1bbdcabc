// TCPStore for Python. Knows the names and the order of the arguments of torch's; what the store
// does is elsewhere.
#include "client/tcp_store.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/credentials.h"
#include "bindings/gil.h"
#include "bindings/pickling.h"
#include "bindings/stores.h"

namespace py = pybind11;

namespace rdzv {
namespace {

TCPStore::Protocol protocol_from(const std::string& name) {
  if (name == "native") return TCPStore::Protocol::kNative;
  if (name == "c10d") return TCPStore::Protocol::kC10d;
  throw Error(ErrorCode::kInvalidArgument,
              "TCPStore: protocol is " + quoted(name) + "; it must be 'native' or 'c10d'");
}

std::string_view environment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::string_view() : text;
}

// Under a launcher that serves a store for its workers (`rendezvous exec`, torchrun), a worker that
// would serve one at that very place is a client of the launcher's, as with torch's TCPStore.
void use_agent_store(TCPStore::Options& options) {
  std::string_view uses = environment("TORCHELASTIC_USE_AGENT_STORE");
  if (uses != "True" && uses != "true" && uses != "1") return;
  if (options.listen_fd || options.port == 0) return;
  if (environment("MASTER_PORT") != std::to_string(options.port)) return;
  options.may_be_served = true;  // under another name of this machine
  if (options.host == environment("MASTER_ADDR")) options.is_master = false;
}

// Of the environment, c10d clients take nothing: their protocol has no place for it. Done after
// use_agent_store: a client of the launcher's hosts nothing.
void use_credentials(TCPStore::Options& options, const GivenCredentials& given, bool demands_tls) {
  const bool is_c10d = options.protocol == TCPStore::Protocol::kC10d;
  if (is_c10d && !given.says_something() && !demands_tls && !options.is_master) return;
  const Credentials found = find_credentials(given);
  if (!is_c10d || given.says_something() || demands_tls)
    options.keeper = keep_for_client(found, demands_tls, options.is_master);
  if (options.is_master) options.security.keeper = keep_for_server(found);
}

}  // namespace

void bind_tcp_store(py::module_& module) {
  py::class_<TCPStore, Store, std::shared_ptr<TCPStore>> type(
      module, "TCPStore", py::is_final(),
      R"(A store on a server, shared by all its clients.

host_name, port: of the server; the master binds them (port 0 picks a free port, see `port`).
world_size: if known, each client is counted, and the master waits until all have connected (wait_for_workers).
is_master: host the server in this process. Under a launcher that serves a store at MASTER_ADDR:MASTER_PORT and says so by
TORCHELASTIC_USE_AGENT_STORE (torchrun, `rendezvous exec`), the master of that port is a client of it.
timeout: for connecting (the server may start later than its clients), and the default of blocking calls.
multi_tenant: masters of this process that name the same port share one server.
master_listen_fd: the master serves on this TCP socket, which is bound to `port`; the store takes it over (socket.detach()).
use_libuv: accepted for torch's sake and ignored: there is one server, and it does everything that torch's libuv server does.
protocol: "native", or "c10d" to use a server of torch's TCPStore. With "c10d" each call has its own connection, and the
protocol can do less: an add to a value that is not a number raises StoreConnectionError, as servers just hang up; a torch
server with use_libuv=False has no queues (StoreUnsupportedError); compare_exchange may report the wrong `swapped` when
another client writes the same value at the same time; a server that lost its data is not noticed; observed_address is this
machine's own view.
token: the job's secret, at least 16 bytes: the connection is encrypted, both ends prove that they have it, and a master asks
its clients for it. None: RENDEZVOUS_TOKEN_FILE, RENDEZVOUS_TOKEN, or the user's saved one; "": none at all. A str or bytes,
a path, or a callable that returns one. A file is read again when it changes. protocol="c10d" has no place for one.
tls_ca: a file of the authorities that vouch for the server's certificate, instead of a token; tls_cert, tls_key: this end's
own certificate, for servers that ask for one, and for a master; tls_name: what the server's certificate is for, if not the
host; tls: True insists on TLS, with the authorities that the system trusts if nothing else is said. See docs/security.md.
insecure: of a master, as Server's.
space: the name space to work in, for the token of an admin; others are in that of their token. None: RENDEZVOUS_SPACE.
host_name "unix:///path": a Unix socket; the port is 0.
Raises StoreConnectionError, StoreProtocolError, StoreAddressInUseError, StoreTimeoutError, StoreRefusedError.)");
  type.def(
          py::init([](std::string host_name, int port, std::optional<int64_t> world_size,
                      bool is_master, const std::optional<TimeoutArg>& timeout,
                      bool wait_for_workers, bool multi_tenant, std::optional<int> master_listen_fd,
                      bool, const std::string& protocol, const py::object& token,
                      const py::object& tls_cert, const py::object& tls_key,
                      const py::object& tls_ca, const py::object& tls_name, bool tls, bool insecure,
                      const py::object& space) {
            TCPStore::Options options;
            options.protocol = protocol_from(protocol);
            options.host = std::move(host_name);
            options.port = port_from(port);
            if (world_size == 0) {
              throw Error(ErrorCode::kInvalidArgument,
                          "TCPStore: world_size is 0; give the number of clients, or None if it "
                          "is not known");
            }
            options.world_size = world_size;
            options.is_master = is_master;
            if (timeout) options.timeout = timeout->duration;
            options.wait_for_workers = wait_for_workers;
            options.multi_tenant = multi_tenant;
            options.listen_fd = master_listen_fd;
            options.security.is_insecure = is_insecure(insecure);
            if (is_master) use_agent_store(options);
            use_credentials(options, {token, tls_cert, tls_key, tls_ca, tls_name, space}, tls);
            if (options.is_master) start_logging();
            return without_gil([&] { return TCPStore::open(options); });
          }),
          py::arg("host_name"), py::arg("port"), py::arg("world_size") = py::none(),
          py::arg("is_master") = false, py::arg("timeout") = py::none(),
          py::arg("wait_for_workers") = true, py::arg("multi_tenant") = false,
          py::arg("master_listen_fd") = py::none(), py::arg("use_libuv") = true, py::kw_only(),
          py::arg("protocol") = "native", py::arg("token") = py::none(),
          py::arg("tls_cert") = py::none(), py::arg("tls_key") = py::none(),
          py::arg("tls_ca") = py::none(), py::arg("tls_name") = py::none(), py::arg("tls") = false,
          py::arg("insecure") = false, py::arg("space") = py::none())
      .def_property_readonly("host", &TCPStore::host, "The host as given.")
      .def_property_readonly("port", &TCPStore::port, "The server's port.")
      .def_property_readonly(
          "protocol",
          [](const TCPStore& self) {
            return self.protocol() == TCPStore::Protocol::kNative ? "native" : "c10d";
          },
          "\"native\" or \"c10d\".")
      .def_property_readonly("observed_address", &TCPStore::observed_address,
                             "The numeric address of this machine, as the server sees it.")
      .def_property_readonly("is_of_one_job", &TCPStore::is_of_one_job,
                             "Whether the server ends with the job that uses it.")
      .def_property_readonly(
          "libuvBackend", [](const TCPStore&) { return true; },
          "Always True, for torch's sake: the server supports every operation.")
      .def(
          "ping", [](TCPStore& self) { without_gil([&] { self.ping(); }); },
          "Make one round trip. Raises StoreTimeoutError or StoreConnectionError when the server "
          "does not answer.")
      .def(
          "close", [](TCPStore& self) { without_gil([&] { self.close(); }); },
          "Close the connection, and the server if this store hosts it. Later calls raise "
          "StoreClosedError.");
  refuse_pickling(type,
                  "it holds a connection; create a TCPStore with the same host and port in the "
                  "other process (clone() is for threads)");
}

}  // namespace rdzv
