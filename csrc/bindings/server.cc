#include "server/server.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/credentials.h"
#include "bindings/gil.h"
#include "bindings/pickling.h"
#include "bindings/timeline.h"
#include "net/address.h"
#include "net/interfaces.h"
#include "tls/credentials.h"

namespace py = pybind11;

namespace rdzv {
namespace {

// Lets Python close a server before the object goes.
class ServerHandle {
 public:
  ServerHandle(std::string host, uint16_t port, const ServerLimits& limits, bool of_one_job,
               const ServerSecurity& security)
      : host_(std::move(host)),
        limits_(limits),
        allowed_(security.allowed),
        server_(std::make_unique<Server>(host_, port, limits, of_one_job, security)),
        port_(server_->port()) {}
  ServerHandle(std::string host, UniqueFd listening, const ServerLimits& limits, bool of_one_job,
               const ServerSecurity& security)
      : host_(std::move(host)),
        limits_(limits),
        allowed_(security.allowed),
        server_(
            std::make_unique<Server>(host_, std::move(listening), limits, of_one_job, security)),
        port_(server_->port()) {}

  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  const ServerLimits& limits() const { return limits_; }
  void allow(const std::vector<std::string>& addresses) {
    if (allowed_ == nullptr) {
      throw Error(ErrorCode::kInvalidArgument,
                  "Server: it was made without allow, and takes clients from everywhere");
    }
    allowed_->set({addresses.begin(), addresses.end()});
  }
  ServerReport report(std::optional<uint64_t> after) {
    std::lock_guard lock(mutex_);
    return open().report(after);
  }
  std::optional<RunReport> report_of_run(const RunQuestion& question) {
    std::lock_guard lock(mutex_);
    return open().report_of_run(question);
  }
  std::vector<native::HostState> host_states(const std::string& space,
                                             const std::vector<std::string>& addresses) {
    std::lock_guard lock(mutex_);
    return open().host_states(space, addresses);
  }
  std::optional<std::string> value(const std::string& space, const std::string& key) {
    std::lock_guard lock(mutex_);
    return open().value(space, key);
  }
  // Whoever comes while another thread closes it waits until that is done.
  void close() {
    std::lock_guard lock(mutex_);
    server_.reset();
  }

 private:
  // Within the lock.
  Server& open() {
    if (server_ == nullptr) throw Error(ErrorCode::kClosed, "Server: report: it was closed");
    return *server_;
  }

  std::string host_;
  ServerLimits limits_;
  std::shared_ptr<AllowedPeers> allowed_;
  std::mutex mutex_;  // protects server_
  std::unique_ptr<Server> server_;
  uint16_t port_;
};

py::dict to_python(const ServerLimits& limits) {
  py::dict values;
  for (const ServerLimits::Field& field : ServerLimits::fields())
    values[field.name] = limits.*field.value;
  return values;
}

const char* host_state_name(native::HostState state) {
  switch (state) {
    case native::HostState::kIs:
      return "is";
    case native::HostState::kWas:
      return "was";
    case native::HostState::kNever:
      break;
  }
  return "never";
}

// A mapping of names to ints, 0 or more.
ServerLimits limits_from(const py::object& mapping) {
  ServerLimits limits;
  if (mapping.is_none()) return limits;
  for (const auto& [name, value] : py::dict(mapping)) {
    const auto text = py::cast<std::string>(py::str(name));
    if (!py::isinstance<py::int_>(value) || value < py::int_(0) || value > py::int_(INT64_MAX)) {
      throw py::value_error("the limit " + text + " is " + py::cast<std::string>(py::repr(value)) +
                            "; it must be a whole number, 0 or more");
    }
    limits.set(text, py::cast<uint64_t>(value));
  }
  return limits;
}

}  // namespace

void bind_server(py::module_& module) {
  py::class_<ServerHandle> type(module, "Server", py::is_final(),
                                R"(A store server in this process, on a thread of its own.

It speaks the native protocol and that of torch's TCPStore on one port. It binds the given host and nothing else
("0.0.0.0" or "::" for every interface); port 0 picks a free port, see `port`. Use it as a context manager, or close() it.
listen_fd: serve on this bound TCP socket instead; the server takes it over (socket.detach()).
limits: limits for clients, by name, that differ from the defaults: see docs/limits.md. ValueError for an unknown name.
of_one_job: the server ends with the job that uses it; otherwise `rendezvous exec` asks its users for a run id.
token: what clients have to have, as TCPStore's, and as many as the file has lines: an old one and a new one hold together.
"": none at all. torch's TCPStore, which cannot prove anything, is then served on this machine only.
tls_cert, tls_key: files of a certificate and its key, by which clients know the server; tls_ca: of the authorities whose
certificates its clients must have. See docs/security.md, also for what is found in the environment.
insecure: listen for other machines although there is neither a token nor a certificate; also RENDEZVOUS_INSECURE=1.
allow: numeric addresses from which alone, beside loopback, clients may connect, or with a token or certificates clients of
torch's TCPStore, which cannot prove anything: a filter, and no proof.
host "unix:///path": a Unix socket, for processes of the same user; the port is 0.
Raises StoreAddressInUseError when the port is taken, StoreConnectionError when the host is not an address of this machine,
or the system refuses a descriptor or a thread; StoreRefusedError when other machines could come in without a token.)");
  type.def(py::init([](std::string host, int port, std::optional<int> listen_fd,
                       const py::object& limits, bool of_one_job, const py::object& token,
                       const py::object& tls_cert, const py::object& tls_key,
                       const py::object& tls_ca, bool insecure,
                       const std::optional<std::vector<std::string>>& allow) {
             uint16_t checked_port = port_from(port);
             const ServerLimits checked = limits_from(limits);
             std::shared_ptr<AllowedPeers> allowed;
             if (allow) {
               allowed = std::make_shared<AllowedPeers>();
               allowed->set({allow->begin(), allow->end()});
             }
             const ServerSecurity security{
                 keep_for_server(find_credentials({token, tls_cert, tls_key, tls_ca})),
                 is_insecure(insecure), allowed};
             start_logging();
             return without_gil([&] {
               if (!listen_fd)
                 return std::make_unique<ServerHandle>(std::move(host), checked_port, checked,
                                                       of_one_job, security);
               return std::make_unique<ServerHandle>(std::move(host), UniqueFd(*listen_fd), checked,
                                                     of_one_job, security);
             });
           }),
           py::arg("host") = "127.0.0.1", py::arg("port") = 0, py::arg("listen_fd") = py::none(),
           py::arg("limits") = py::none(), py::kw_only(), py::arg("of_one_job") = false,
           py::arg("token") = py::none(), py::arg("tls_cert") = py::none(),
           py::arg("tls_key") = py::none(), py::arg("tls_ca") = py::none(),
           py::arg("insecure") = false, py::arg("allow") = py::none())
      .def_property_readonly("host", &ServerHandle::host, "The host as given.")
      .def_property_readonly("port", &ServerHandle::port, "The port it listens on.")
      .def_property_readonly(
          "limits", [](const ServerHandle& self) { return to_python(self.limits()); },
          "The limits for clients, by name: those given, and the defaults of the others.")
      .def(
          "report",
          [](ServerHandle& self, std::optional<uint64_t> after) {
            return report_to_python(without_gil([&] { return self.report(after); }));
          },
          py::arg("after") = 0,
          "What is in the server: `monotonic_s` (its clock), `connections`, `counters`, `spaces`, "
          "`runs` and `warnings`, with the events that came after the one whose `serial` is "
          "`after`, or without any (None).")
      .def(
          "_report_of_run",
          [](ServerHandle& self, const std::string& space, const std::string& run_id,
             size_t events_max) -> py::object {
            const auto found =
                without_gil([&] { return self.report_of_run({space, run_id, events_max}); });
            if (!found) return py::none();
            return run_report_to_python(*found);
          },
          py::arg("space"), py::arg("run_id"), py::arg("events_max"))
      .def(
          "_host_states",
          [](ServerHandle& self, const std::string& space,
             const std::vector<std::string>& addresses) {
            py::list names;
            for (const native::HostState state :
                 without_gil([&] { return self.host_states(space, addresses); }))
              names.append(host_state_name(state));
            return names;
          },
          py::arg("space"), py::arg("addresses"))
      .def(
          "_value",
          [](ServerHandle& self, const std::string& space,
             const std::string& key) -> std::optional<py::bytes> {
            const auto found = without_gil([&] { return self.value(space, key); });
            if (!found) return std::nullopt;
            return py::bytes(*found);
          },
          py::arg("space"), py::arg("key"))
      .def("allow", &ServerHandle::allow, py::arg("addresses"),
           "Replace the addresses of the argument allow. ValueError for a server that was made "
           "without allow.")
      .def(
          "close", [](ServerHandle& self) { without_gil([&] { self.close(); }); },
          "Close the port and all connections. Idempotent.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](ServerHandle& self, py::args) { without_gil([&] { self.close(); }); })
      .def("__repr__", [](const ServerHandle& self) {
        return "<rendezvous.Server " + format_endpoint(self.host(), self.port()) + ">";
      });
  module.def(
      "server_limits", [] { return to_python(ServerLimits()); },
      "The limits of a server and their defaults, by name.");
  module.def(
      "tls_library", [] { return tls::library_version(); },
      "The TLS library of this build and its version; empty: this build has none.");
  module.def(
      "make_token",
      [](const std::string& space, const std::string& role) {
        uint8_t random[32];
        fill_random(random, sizeof(random));
        const Bytes drawn(reinterpret_cast<const char*>(random), sizeof(random));
        for (const tls::Role known : {tls::Role::kMember, tls::Role::kReader, tls::Role::kAdmin}) {
          if (role == tls::role_text(known)) return tls::token_text(space, known, drawn);
        }
        throw py::value_error("the role is " + role + "; it must be member, reader or admin");
      },
      py::arg("space") = "default", py::arg("role") = "member",
      "A new token: 32 random bytes, for a name space and a role.");
  module.def("saved_token_path", &saved_token_path,
             "The file in the user's configuration where every command finds the token.");
  module.def(
      "has_credentials",
      [](const py::object& token, const py::object& tls_cert, const py::object& tls_key,
         const py::object& tls_ca, const py::object& tls_name) {
        return find_credentials({token, tls_cert, tls_key, tls_ca, tls_name}).is_any();
      },
      py::kw_only(), py::arg("token") = py::none(), py::arg("tls_cert") = py::none(),
      py::arg("tls_key") = py::none(), py::arg("tls_ca") = py::none(),
      py::arg("tls_name") = py::none(),
      "Whether these arguments, the environment or the user's configuration have a token or "
      "certificates.");
  module.def(
      "interface_addresses", [] { return without_gil([] { return interface_addresses(); }); },
      "The numeric addresses of this machine's interfaces, secondary ones included.");
  refuse_pickling(type,
                  "it holds a port and a thread of this process; create a TCPStore with its host "
                  "and port in the other process");
}

}  // namespace rdzv
