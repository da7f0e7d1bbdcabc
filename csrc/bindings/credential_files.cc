#include "bindings/credential_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/thread.h"

namespace rdzv {
namespace {

constexpr size_t kFileBytesMax = 8 * 1024 * 1024;
// So often a server looks whether its files have changed, while newcomers come.
constexpr Duration kLookEvery = std::chrono::seconds(1);

[[noreturn]] void throw_unreadable(const std::string& what, const std::string& why) {
  throw Error(ErrorCode::kInvalidArgument, what + " cannot be read: " + why);
}

// Tells two states of a file apart.
struct Stamp {
  dev_t device = 0;
  ino_t number = 0;
  off_t size = 0;
  int64_t written_ns = 0;
  int64_t changed_ns = 0;  // also where somebody has set the other

  friend bool operator==(const Stamp&, const Stamp&) = default;
};

Stamp stamp_of(const struct stat& status) {
  const auto nanoseconds = [](const timespec& at) {
    return int64_t{at.tv_sec} * 1'000'000'000 + at.tv_nsec;
  };
#if defined(__APPLE__)
  const timespec written = status.st_mtimespec, changed = status.st_ctimespec;
#else
  const timespec written = status.st_mtim, changed = status.st_ctim;
#endif
  return {status.st_dev, status.st_ino, status.st_size, nanoseconds(written), nanoseconds(changed)};
}

// False: no file is there now. A pipe is none, which is read once: who opens it waits for a writer.
bool look_at(const std::string& path, Stamp& stamp) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
  stamp = stamp_of(status);
  return true;
}

std::string read_all(int fd, const std::string& what) {
  std::string text;
  char buffer[4096];
  for (ssize_t count = 1; count != 0;) {
    count = ::read(fd, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw_unreadable(what, errno_text(errno));
    text.append(buffer, static_cast<size_t>(count));
    if (text.size() > kFileBytesMax) throw_unreadable(what, "it is too large for one");
  }
  return text;
}

std::string what_is(const CredentialFile& file) {
  if (file.text == &tls::Texts::tokens) return "the token file";
  if (file.text == &tls::Texts::certificate) return "the file of tls_cert";
  return file.text == &tls::Texts::key ? "the file of tls_key" : "the file of tls_ca";
}

// Looks at the files of a keeper. Any thread.
class FollowedFiles : public std::enable_shared_from_this<FollowedFiles> {
 public:
  FollowedFiles(tls::Texts texts, std::vector<CredentialFile> files)
      : texts_(std::move(texts)), files_(std::move(files)), stamps_(files_.size()) {}

  // Before anybody looks at them.
  tls::Texts read_first() {
    stamps_ = stamps();
    return read();
  }
  void follow_for(const std::shared_ptr<tls::Keeper>& keeper) { keeper_ = keeper; }

  // Bytes that are no good, or no file, change nothing: the next look may find better ones. So may one
  // at what could not be read: a server may be short of descriptors for a while.
  void look() {
    const std::vector<Stamp> found = stamps();
    {
      std::lock_guard lock(mutex_);
      if (found.empty() || found == stamps_) return;
      stamps_ = found;
    }
    std::optional<tls::Texts> texts;
    std::string why;
    try {
      texts = read();
      const std::shared_ptr<tls::Keeper> keeper = keeper_.lock();
      if (keeper != nullptr && keeper->renew(*texts))
        log(LogLevel::kInfo, names() + " has changed and was read again");
    } catch (const std::exception& error) {
      why = error.what();
    }
    {
      std::lock_guard lock(mutex_);
      if (!texts) stamps_.clear();
      if (why == std::exchange(told_, texts ? std::string() : why)) return;
    }
    if (why.empty()) return;
    log(LogLevel::kWarning,
        names() + " has changed and is not used, what was there before holds: " + why);
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

  std::string names() const {
    std::string text;
    for (const CredentialFile& file : files_)
      text += (text.empty() ? "" : " or ") + what_is(file) + " " + file.path;
    return text;
  }

 private:
  // Empty: one of them is not there, as while somebody replaces it.
  std::vector<Stamp> stamps() const {
    std::vector<Stamp> found(files_.size());
    for (size_t i = 0; i < files_.size(); ++i) {
      if (!look_at(files_[i].path, found[i])) return {};
    }
    return found;
  }

  tls::Texts read() const {
    tls::Texts texts = texts_;
    for (const CredentialFile& file : files_)
      texts.*file.text = read_credential_file(file.path, what_is(file));
    return texts;
  }

  const tls::Texts texts_;
  const std::vector<CredentialFile> files_;
  std::weak_ptr<tls::Keeper> keeper_;
  std::mutex mutex_;  // protects all below
  std::vector<Stamp> stamps_;
  std::string told_;  // why they cannot be read, as the log says already
  bool is_looking_ = false;
  Instant next_{};
};

}  // namespace

std::string read_credential_file(const std::string& path, const std::string& what) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw_unreadable(what + " " + path, errno_text(errno));
  return read_all(fd.get(), what + " " + path);
}

std::string read_token_descriptor(const std::string& number) {
  static std::mutex mutex;
  static std::map<int, std::string> known;
  const std::string what = "the descriptor " + number + " of RENDEZVOUS_TOKEN_FD";
  int fd = -1;
  const char* end = number.data() + number.size();
  if (std::from_chars(number.data(), end, fd).ptr != end || fd < 0)
    throw_unreadable(what, "it is not a number");
  std::lock_guard lock(mutex);
  const auto found = known.find(fd);
  if (found != known.end()) return found->second;
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    throw_unreadable(what, errno_text(errno) + "; it has to be open when this process starts");
  return known[fd] = read_all(fd, what);
}

std::shared_ptr<tls::Keeper> keep_files(tls::Keeper::Side side, tls::Texts texts,
                                        std::vector<CredentialFile> files) {
  const bool has_files = !files.empty();
  const auto followed = std::make_shared<FollowedFiles>(std::move(texts), std::move(files));
  std::shared_ptr<tls::Keeper> keeper;
  const tls::Texts first = followed->read_first();
  try {
    keeper = std::make_shared<tls::Keeper>(side, first);
  } catch (const Error& error) {
    if (!has_files) throw;
    throw Error(error.code(), followed->names() + ": " + error.message());
  }
  if (!has_files) return keeper;
  followed->follow_for(keeper);
  if (side == tls::Keeper::Side::kServer) {
    keeper->set_before_use([followed] { followed->look_later(); });
  } else {
    // Clients begin sessions on threads that dial.
    keeper->set_before_use([followed] { followed->look(); });
  }
  return keeper;
}

}  // namespace rdzv
