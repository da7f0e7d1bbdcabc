// One function a topic; module.cc calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace rdzv {

void bind_census(pybind11::module_& module);
void bind_dial(pybind11::module_& module);
void bind_errors(pybind11::module_& module);
void bind_gil(pybind11::module_& module);
void bind_logging(pybind11::module_& module);
void bind_stores(pybind11::module_& module);
void bind_file_store(pybind11::module_& module);
void bind_server(pybind11::module_& module);
void bind_group(pybind11::module_& module);
void bind_group_settings(pybind11::module_& module);
void bind_run_client(pybind11::module_& module);

// Starts the thread that carries the core's log records to Python's logging; called before a server
// is made.
void start_logging();

}  // namespace rdzv
