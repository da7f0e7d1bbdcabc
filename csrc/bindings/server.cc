#include "server/server.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <mutex>
#include <optional>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/pickling.h"
#include "net/address.h"

namespace py = pybind11;

namespace rdzv {
namespace {

// Lets Python close a server before the object goes.
class ServerHandle {
 public:
  ServerHandle(std::string host, uint16_t port)
      : host_(std::move(host)),
        server_(std::make_unique<Server>(host_, port)),
        port_(server_->port()) {}
  ServerHandle(std::string host, UniqueFd listening)
      : host_(std::move(host)),
        server_(std::make_unique<Server>(host_, std::move(listening))),
        port_(server_->port()) {}

  const std::string& host() const { return host_; }
  uint16_t port() const { return port_; }
  // Whoever comes while another thread closes it waits until that is done.
  void close() {
    std::lock_guard lock(mutex_);
    server_.reset();
  }

 private:
  std::string host_;
  std::mutex mutex_;  // protects server_
  std::unique_ptr<Server> server_;
  uint16_t port_;
};

}  // namespace

void bind_server(py::module_& module) {
  py::class_<ServerHandle> type(module, "Server", py::is_final(),
                                R"(A store server in this process, on a thread of its own.

It speaks the native protocol and that of torch's TCPStore on one port. It binds the given host and nothing else
("0.0.0.0" or "::" for every interface); port 0 picks a free port, see `port`. Use it as a context manager, or close() it.
listen_fd: serve on this TCP socket in their place, which is bound and from now on the server's (socket.detach()).
Raises StoreAddressInUseError when the port is taken, StoreConnectionError when the host is none of this machine's.)");
  type.def(py::init([](std::string host, int port, std::optional<int> listen_fd) {
             uint16_t checked_port = port_from(port);
             start_logging();
             return without_gil([&] {
               if (!listen_fd) return std::make_unique<ServerHandle>(std::move(host), checked_port);
               return std::make_unique<ServerHandle>(std::move(host), UniqueFd(*listen_fd));
             });
           }),
           py::arg("host") = "127.0.0.1", py::arg("port") = 0, py::arg("listen_fd") = py::none())
      .def_property_readonly("host", &ServerHandle::host, "The host as it was given.")
      .def_property_readonly("port", &ServerHandle::port, "The port it listens on.")
      .def(
          "close", [](ServerHandle& self) { without_gil([&] { self.close(); }); },
          "Close the port and all connections. Idempotent.")
      .def("__enter__", [](py::object self) { return self; })
      .def("__exit__", [](ServerHandle& self, py::args) { without_gil([&] { self.close(); }); })
      .def("__repr__", [](const ServerHandle& self) {
        return "<rendezvous.Server " + format_endpoint(self.host(), self.port()) + ">";
      });
  refuse_pickling(type,
                  "it holds a port and a thread of this process; give the other process host and "
                  "port for a TCPStore of its own");
}

}  // namespace rdzv
