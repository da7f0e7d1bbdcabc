// Dialling for asyncio's stores, whose own extension has no sockets, names or retries: one dial on
// the thread that calls, as NativeLine's threads do it.
#include "client/dial.h"

#include <pybind11/pybind11.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/credentials.h"
#include "bindings/gil.h"
#include "client/line_rules.h"
#include "net/address.h"
#include "net/process_fd.h"

namespace py = pybind11;

namespace rdzv {
namespace {

// The other extension asks for it by this name.
constexpr char kSecuredName[] = "rendezvous.tls.Session";

class Dial {
 public:
  Dial(std::string host, int port, const std::string& session, std::shared_ptr<tls::Keeper> keeper)
      : host_(std::move(host)), port_(port_from(port)), keeper_(std::move(keeper)) {
    if (session.size() != session_.size()) throw py::value_error("a session must have 16 bytes");
    std::ranges::copy(session, session_.begin());
  }

  // The descriptor, which is the caller's, and what the server has said.
  std::pair<int, std::string> run(Duration timeout) {
    std::string heard;
    const Deadline deadline = Deadline::after(timeout);
    try {
      UniqueFd fd = dial(
          host_, port_, deadline, [this] { return cancelled_.load(); },
          [&](Greeting& greeting) {
            heard.clear();
            ClientCore core(session_, client_text(), asked_space(keeper_.get()));
            if (!secure(greeting, keeper_.get(), host_) || !greet_native(greeting, core, &heard))
              return false;
            secured_ = greeting.take_session();
            return true;
          },
          progress_);
      return {fd.release(), std::move(heard)};
    } catch (const Error& error) {
      may_work_later_ = more_time_may_help(error.code());
      throw;
    }
  }
  // What run() has secured the connection by, for who goes on with it; none: plain bytes.
  std::unique_ptr<tls::Session> take_secured() { return std::move(secured_); }
  void cancel() { cancelled_ = true; }
  [[noreturn]] void throw_out_of_time(Duration waited) {
    progress_.throw_out_of_time(format_endpoint(host_, port_), waited);
  }
  bool may_work_later() const { return may_work_later_; }
  bool has_failed() { return progress_.has_failed(); }

 private:
  std::string host_;
  uint16_t port_;
  std::shared_ptr<tls::Keeper> keeper_;
  native::Id128 session_{};
  std::unique_ptr<tls::Session> secured_;
  DialProgress progress_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> may_work_later_{false};
};

}  // namespace

void bind_dial(py::module_& module) {
  py::class_<Dial>(module, "_Dial", py::is_final(),
                   "Connects to a native server and exchanges greetings, for a client that has its "
                   "own event loop.")
      .def(
          py::init([](std::string host, int port, const py::bytes& session, const py::object& token,
                      const py::object& tls_cert, const py::object& tls_key,
                      const py::object& tls_ca, const py::object& tls_name, bool tls) {
            return std::make_unique<Dial>(
                std::move(host), port, session,
                keep_for_client(find_credentials({token, tls_cert, tls_key, tls_ca, tls_name}),
                                tls));
          }),
          py::arg("host"), py::arg("port"), py::arg("session"), py::kw_only(),
          py::arg("token") = py::none(), py::arg("tls_cert") = py::none(),
          py::arg("tls_key") = py::none(), py::arg("tls_ca") = py::none(),
          py::arg("tls_name") = py::none(), py::arg("tls") = false)
      .def(
          "take_secured",
          [](Dial& self) -> py::object {
            std::unique_ptr<tls::Session> session = self.take_secured();
            if (session == nullptr) return py::none();
            py::capsule capsule(session.get(), kSecuredName, [](PyObject* left) {
              delete static_cast<tls::Session*>(PyCapsule_GetPointer(left, kSecuredName));
            });
            static_cast<void>(session.release());
            return capsule;
          },
          "The TLS of the connection that run() made, once, for the one that goes on with it; or "
          "None.")
      .def(
          "run",
          [](Dial& self, TimeoutArg timeout) {
            auto [fd, heard] = without_gil([&] { return self.run(timeout.duration); });
            return py::make_tuple(fd, py::bytes(heard));
          },
          py::arg("timeout"),
          "Connect within the timeout. Returns the descriptor, which the caller then owns, and the "
          "server's greeting.")
      .def("cancel", &Dial::cancel, "Cancel run(), from another thread.")
      .def(
          "raise_out_of_time",
          [](Dial& self, TimeoutArg waited) { self.throw_out_of_time(waited.duration); },
          py::arg("waited"), "Raise the error for a caller who waited this long without success.")
      .def_property_readonly("has_failed", &Dial::has_failed, "Whether an attempt has failed.")
      .def_property_readonly("may_work_later", &Dial::may_work_later,
                             "Whether another attempt may succeed.");
  py::class_<LentFd>(module, "_LentFd", py::is_final(),
                     "Keeps a descriptor out of forked children for as long as this object lives. "
                     "Drop it before the descriptor is closed.")
      .def(py::init<int>(), py::arg("fd"));
}

}  // namespace rdzv
