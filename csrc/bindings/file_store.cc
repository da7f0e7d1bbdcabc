// FileStore for Python. Knows how Python writes file names; what the store does is elsewhere.
#include "store/file_store.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/gil.h"
#include "bindings/pickling.h"
#include "store/closable_store.h"

namespace py = pybind11;

namespace rdzv {
namespace {

// For tests, which cannot write megabytes between any two compactions.
uint64_t compact_min_bytes() {
  const char* text = std::getenv("RENDEZVOUS_FILE_COMPACT_BYTES");
  return text == nullptr ? kCompactMinBytes : std::strtoull(text, nullptr, 10);
}

class FileStoreHold final : public ClosableStore {
 public:
  explicit FileStoreHold(const FileStore::Options& options)
      : FileStoreHold(options.path, std::make_shared<FileStore>(options)) {}
  FileStoreHold(std::string path, std::shared_ptr<Store> store)
      : ClosableStore(std::move(store)), path_(std::move(path)) {}

  const std::string& path() const { return path_; }

 private:
  std::shared_ptr<Store> hold(std::shared_ptr<Store> clone) override {
    return std::make_shared<FileStoreHold>(path_, std::move(clone));
  }

  const std::string path_;  // as it was given
};

}  // namespace

void bind_file_store(py::module_& module) {
  py::class_<FileStoreHold, Store, std::shared_ptr<FileStoreHold>> type(
      module, "FileStore", py::is_final(),
      R"(A store in a file, for the processes of one host or of a shared file system.

file_name: str or os.PathLike; created if missing. `<file_name>.lock` appears beside it while the store is in use.
world_size: accepted for torch's sake, and ignored.
job_id: if no process uses the file, the same non-empty job_id finds the values that were left; any other job_id resets the
file. All processes that use a file at the same time must give the same job_id.
timeout: for opening, and the store's default afterwards; in seconds or a timedelta. None: 300 s.
A forked child opens the file again; the inherited object raises StoreClosedError there.
Raises StoreConnectionError (no such directory, no permission), StoreProtocolError (not a store's file, or a damaged one),
StoreAddressInUseError (in use with another job_id), StoreTimeoutError (another process holds the file's lock).)");
  type.def(py::init([](const py::object& file_name, int64_t, BytesArg job_id,
                       std::optional<TimeoutArg> timeout) {
             py::bytes path = calling_python([&]() -> py::object {
               return py::module_::import("os").attr("fsencode")(file_name);
             });
             FileStore::Options options;
             options.path = std::string(path);
             options.job_id = std::string(job_id.view);
             if (timeout) options.timeout = timeout->duration;
             options.compact_min_bytes = compact_min_bytes();
             return without_gil([&] { return std::make_shared<FileStoreHold>(options); });
           }),
           py::arg("file_name"), py::arg("world_size") = -1, py::arg("job_id") = "", py::kw_only(),
           py::arg("timeout") = py::none())
      .def_property_readonly(
          "path",
          [](const FileStoreHold& self) {
            return calling_python([&]() -> py::object {
              return py::module_::import("os").attr("fsdecode")(py::bytes(self.path()));
            });
          },
          "The file name as given, as str.");
  refuse_pickling(
      type,
      "it holds an open file; open a FileStore with the same path and job_id in the other process");
}

}  // namespace rdzv
