#include "bindings/tokens.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "bindings/bindings.h"
#include "net/thread.h"

namespace py = pybind11;

namespace rdzv {
namespace {

constexpr size_t kFileBytesMax = 8 * 1024 * 1024;
// So often a server looks whether its file has changed, while newcomers come.
constexpr Duration kLookEvery = std::chrono::seconds(1);

[[noreturn]] void throw_unreadable(const std::string& path, const std::string& why) {
  throw Error(ErrorCode::kInvalidArgument, "the token file " + path + " cannot be read: " + why);
}

std::string environment(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? std::string() : text;
}

// Tells two states of a file apart.
struct Stamp {
  dev_t device = 0;
  ino_t number = 0;
  off_t size = 0;
  int64_t changed_ns = 0;

  friend bool operator==(const Stamp&, const Stamp&) = default;
};

Stamp stamp_of(const struct stat& status) {
#if defined(__APPLE__)
  const timespec changed = status.st_mtimespec;
#else
  const timespec changed = status.st_mtim;
#endif
  return {status.st_dev, status.st_ino, status.st_size,
          int64_t{changed.tv_sec} * 1'000'000'000 + changed.tv_nsec};
}

std::string read_file(const std::string& path, Stamp& stamp) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0) throw_unreadable(path, errno_text(errno));
  stamp = stamp_of(status);
  std::string text;
  char buffer[4096];
  for (ssize_t count = 1; count > 0;) {
    count = ::read(fd.get(), buffer, sizeof(buffer));
    if (count < 0) throw_unreadable(path, errno_text(errno));
    text.append(buffer, static_cast<size_t>(count));
    if (text.size() > kFileBytesMax) throw_unreadable(path, "it is too large for one");
  }
  return text;
}

// Looks at the file of a keeper's token. Any thread.
class FollowedFile : public std::enable_shared_from_this<FollowedFile> {
 public:
  FollowedFile(std::string path, const std::shared_ptr<tls::Keeper>& keeper)
      : path_(std::move(path)), keeper_(keeper) {}

  // Bytes that are no good, or no file, change nothing: the next look may find better ones.
  void look() {
    try {
      struct stat status{};
      if (::stat(path_.c_str(), &status) != 0) return;
      Stamp stamp = stamp_of(status);
      {
        std::lock_guard lock(mutex_);
        if (stamp == stamp_) return;
      }
      const std::string text = read_file(path_, stamp);
      {
        std::lock_guard lock(mutex_);
        stamp_ = stamp;
      }
      const std::shared_ptr<tls::Keeper> keeper = keeper_.lock();
      if (keeper != nullptr && keeper->renew({text}))
        log(LogLevel::kInfo, "the token file " + path_ + " has changed and was read again");
    } catch (const std::exception& error) {
      log(LogLevel::kWarning,
          "the token file " + path_ +
              " has changed and is not used, the token from before holds: " + error.what());
    }
  }

  // The same on a thread of its own, and not too often: a file system may hang.
  void look_later() {
    {
      std::lock_guard lock(mutex_);
      if (is_looking_ || now() < next_) return;
      is_looking_ = true;
      next_ = now() + kLookEvery;
    }
    try {
      start_detached_thread([self = shared_from_this()] {
        self->look();
        std::lock_guard lock(self->mutex_);
        self->is_looking_ = false;
      });
    } catch (const std::exception&) {
      // No thread is to be had now.
      std::lock_guard lock(mutex_);
      is_looking_ = false;
    }
  }

 private:
  const std::string path_;
  const std::weak_ptr<tls::Keeper> keeper_;
  std::mutex mutex_;  // protects all below
  Stamp stamp_;
  bool is_looking_ = false;
  Instant next_{};
};

FoundToken from_file(std::string path) {
  Stamp stamp;
  std::string text = read_file(path, stamp);
  return {std::move(text), std::move(path)};
}

std::optional<FoundToken> from_text(std::string text) {
  if (text.empty()) return std::nullopt;
  return FoundToken{std::move(text), {}};
}

}  // namespace

std::string saved_token_path() {
  std::string folder = environment("XDG_CONFIG_HOME");
  if (folder.empty()) {
    folder = environment("HOME");
    if (folder.empty()) return {};
    folder += "/.config";
  }
  return folder + "/rendezvous/token";
}

std::optional<FoundToken> find_token(const py::object& given) {
  if (given.is_none()) {
    if (std::string path = environment("RENDEZVOUS_TOKEN_FILE"); !path.empty())
      return from_file(std::move(path));
    if (std::string text = environment("RENDEZVOUS_TOKEN"); !text.empty())
      return from_text(std::move(text));
    std::string path = saved_token_path();
    struct stat status{};
    if (path.empty() || ::stat(path.c_str(), &status) != 0) return std::nullopt;
    return from_file(std::move(path));
  }
  if (py::isinstance<py::str>(given) || py::isinstance<py::bytes>(given))
    return from_text(py::cast<std::string>(given));
  if (py::hasattr(given, "__fspath__"))
    return from_file(py::cast<std::string>(given.attr("__fspath__")()));
  if (PyCallable_Check(given.ptr()) != 0) {
    const py::object made = given();
    if (made.is_none()) return std::nullopt;
    return find_token(made);
  }
  throw py::type_error("token is a str, bytes, a path, a callable that returns one, or None");
}

std::shared_ptr<tls::Keeper> keep_token(tls::Keeper::Side side,
                                        const std::optional<FoundToken>& token) {
  if (!token) return nullptr;
  std::shared_ptr<tls::Keeper> keeper;
  try {
    keeper = std::make_shared<tls::Keeper>(side, tls::Texts{token->text});
  } catch (const Error& error) {
    if (token->path.empty()) throw;
    throw Error(error.code(), "the token file " + token->path + ": " + error.message());
  }
  // The name space that a client asks for; tokens of admins open all.
  if (side == tls::Keeper::Side::kClient) keeper->set_space(environment("RENDEZVOUS_SPACE"));
  if (token->path.empty()) return keeper;
  const auto file = std::make_shared<FollowedFile>(token->path, keeper);
  if (side == tls::Keeper::Side::kServer) {
    keeper->set_before_use([file] { file->look_later(); });
  } else {
    // Clients begin sessions on threads that dial.
    keeper->set_before_use([file] { file->look(); });
  }
  return keeper;
}

}  // namespace rdzv
