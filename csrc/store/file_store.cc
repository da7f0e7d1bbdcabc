#include "store/file_store.h"

#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "store/file_lock.h"

namespace rdzv {
namespace {

constexpr Duration kHolderSearch = std::chrono::milliseconds(50);

}  // namespace

FileStore::FileStore(const Options& options)
    : options_(options), path_(options.path), fork_generation_(rdzv::fork_generation()) {
  set_timeout(options.timeout);
  Deadline deadline = Deadline::after(options.timeout);
  OpenedFile opened = open_store_file(options.path, options.job_id, options.boot, options.timeout);
  opened.header.boot = options.boot;  // of the next file that is written in its place
  if (options.shared) opened.log.set_shared(true);
  real_path_ = opened.log.path();
  users_ = std::move(opened.users);
  FileReplica::Listener& listener = *this;
  replica_ = std::make_unique<FileReplica>(std::move(opened.log), std::move(opened.header),
                                           options.compact_min_bytes, options.clock, listener);
  Lock lock(mutex_);
  refresh(lock, "opening", deadline.left());
}

FileStore::~FileStore() {
  if (rdzv::fork_generation() != fork_generation_) return;
  try {
    tidy_up(real_path_, users_);
  } catch (const Error&) {
    // The lock file stays; the next user finds it and uses it.
  }
}

void FileStore::throw_if_forked() const {
  if (rdzv::fork_generation() == fork_generation_) return;
  throw Error(ErrorCode::kClosed, describe() +
                                      " was opened before this process was forked, and belongs to "
                                      "its parent; open it again in the child");
}

void FileStore::throw_locked_out(const char* operation, Duration elapsed) const {
  std::string holder = find_lock_holder(real_path_, kHolderSearch);
  throw Error(ErrorCode::kNoAnswer,
              std::string(operation) + " timeout after " + seconds_text(elapsed) + ": " +
                  (holder.empty() ? "another process" : holder) +
                  " holds the writer's lock and does not release it; end it if it is stopped (" +
                  describe() + ")");
}

void FileStore::refresh(Lock& lock, const char* operation, Duration timeout) {
  if (replica_->catch_up()) return;
  lock.unlock();
  check_locked(operation, timeout);
  lock.lock();
}

std::string FileStore::get(Bytes key, Duration timeout) {
  return read(key, timeout).own();
}

TakenBytes FileStore::read(Bytes key, Duration timeout) {
  check_key("get", key);
  throw_if_forked();
  {
    Lock lock(mutex_);
    refresh(lock, "get", timeout);
    if (const Table::Value* value = replica_->table().find(key)) return value->bytes.taken();
  }
  return std::move(wait_for("get", {key}, timeout, Table::Need::kValue).front());
}

bool FileStore::check(const std::vector<Bytes>& keys) {
  check_keys("check", keys);
  throw_if_forked();
  Lock lock(mutex_);
  refresh(lock, "check", timeout());
  return replica_->table().has_all(keys);
}

int64_t FileStore::num_keys() {
  throw_if_forked();
  Lock lock(mutex_);
  refresh(lock, "num_keys", timeout());
  return static_cast<int64_t>(replica_->table().size());
}

std::vector<std::string> FileStore::list_keys(Bytes prefix) {
  check_key("list_keys", prefix);
  throw_if_forked();
  std::vector<std::string> keys;
  {
    Lock lock(mutex_);
    refresh(lock, "list_keys", timeout());
    Table::PrefixWalk walk(prefix);
    replica_->table().walk(walk, SIZE_MAX, [&](Bytes key) { keys.emplace_back(key); });
  }
  return keys;
}

int64_t FileStore::queue_len(Bytes key) {
  check_key("queue_len", key);
  throw_if_forked();
  Lock lock(mutex_);
  refresh(lock, "queue_len", timeout());
  return static_cast<int64_t>(replica_->table().queue_size(key));
}

Store::Versioned FileStore::try_get(Bytes key) {
  check_key("try_get", key);
  throw_if_forked();
  Lock lock(mutex_);
  refresh(lock, "try_get", timeout());
  const Table::Value* value = replica_->table().find(key);
  if (value == nullptr) return {};
  return {value->bytes, value->version};
}

std::shared_ptr<Store> FileStore::clone(Duration timeout) {
  throw_if_forked();
  Options options = options_;
  options.timeout = timeout;
  auto clone = std::make_shared<FileStore>(options);
  clone->set_timeout(this->timeout());
  return clone;
}

}  // namespace rdzv
