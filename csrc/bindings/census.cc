// What is in the name spaces of a server, and its limits, for who may look (`rendezvous status`).
#include <pybind11/pybind11.h>

#include <memory>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "client/native_operations.h"
#include "client/native_store.h"

namespace py = pybind11;

namespace rdzv {
namespace {

py::dict to_python(const ServerCensus::Numbers& numbers) {
  py::dict made;
  for (const auto& [name, number] : numbers) made[py::str(name)] = number;
  return made;
}

py::tuple census(TCPStore& store, bool every, TimeoutArg timeout) {
  auto* native = dynamic_cast<NativeStore*>(&store);
  if (native == nullptr)
    throw Error(ErrorCode::kUnsupported, "census: torch's protocol has no such question");
  const auto found = without_gil([&] {
    return native->run_for<ServerCensus>(native_operations::spaces(every, timeout.duration));
  });
  py::dict spaces;
  for (const auto& [name, numbers] : found.spaces) spaces[py::str(name)] = to_python(numbers);
  return py::make_tuple(spaces, to_python(found.limits));
}

}  // namespace

void bind_census(py::module_& module) {
  module.def("census", &census, py::arg("store"), py::arg("every"), py::arg("timeout"),
             "What is in the store's name space at its server, or in every one, for an admin's "
             "token; and the server's limits.");
}

}  // namespace rdzv
