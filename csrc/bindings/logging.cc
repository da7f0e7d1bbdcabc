#include <pybind11/pybind11.h>

#include <optional>

#include "base/log.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"

namespace py = pybind11;

namespace rdzv {

void start_logging() {
  calling_python([] { py::module_::import("rendezvous._base.log").attr("start")(); });
}

void deliver_log_records(bool failing) try {
  py::module_::import("rendezvous._base.log").attr("deliver")();
} catch (py::error_already_set& error) {
  if (!failing) throw;
  error.discard_as_unraisable("delivering log records");
}

void bind_logging(py::module_& module) {
  module.def(
      "_next_log_record",
      [](TimeoutArg timeout) -> py::object {
        LogQueue& queue = LogQueue::instance();
        std::optional<LogRecord> record = queue.read(Duration::zero());
        if (!record && timeout.duration > Duration::zero())
          record = without_gil([&] { return queue.read(timeout.duration); });
        if (!record) return py::none();
        return py::make_tuple(static_cast<int>(record->level), message_to_python(record->message));
      },
      py::arg("timeout"),
      "The core's next log record as (level, message), or None after `timeout` or "
      "_wake_log_reader.");
  module.def(
      "_wake_log_reader", [] { LogQueue::instance().wake_reader(); },
      "End the current or next _next_log_record without a record.");
  module.def(
      "_set_log_thread", [](bool runs) { LogQueue::instance().set_has_thread(runs); },
      py::arg("runs"), "Set whether a thread keeps calling _next_log_record.");
}

}  // namespace rdzv
