#include "store/file_store.h"

#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "store/file_lock.h"

namespace rdzv {
namespace {

using file_format::RecordType;
using file_format::RecordWriter;

constexpr Duration kHolderSearch = std::chrono::milliseconds(50);
// A buffer that one large record needed is not kept.
constexpr size_t kRecordKeptBytes = 1024 * 1024;

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
  throw Error(
      ErrorCode::kClosed,
      describe() + " was opened by the parent process before the fork; open it again in the child");
}

void FileStore::throw_locked_out(const char* operation, Duration elapsed) const {
  std::string holder = find_lock_holder(real_path_, kHolderSearch);
  throw Error(ErrorCode::kNoAnswer,
              std::string(operation) + " timeout after " + seconds_text(elapsed) + ": " +
                  (holder.empty() ? "another process" : holder) +
                  " holds the write lock and does not release it; kill it if it is suspended (" +
                  describe() + ")");
}

void FileStore::refresh(Lock& lock, const char* operation, Duration timeout) {
  if (replica_->catch_up()) return;
  lock.unlock();
  // The verdict on what looked wrong to a reader.
  {
    const Writing writing(*this, operation, timeout);
  }
  lock.lock();
}

Lock FileStore::begin_reading(const char* operation, Duration timeout) {
  throw_if_forked();
  Lock lock(mutex_);
  refresh(lock, operation, timeout);
  return lock;
}

Lock FileStore::begin_writing(const char* operation, Duration timeout) {
  throw_if_forked();
  LockBackoff backoff(timeout);
  Lock lock(mutex_);
  while (true) {
    if (replica_->log().try_lock()) {
      bool is_current = false;
      try {
        const HeldRole role;
        is_current = replica_->catch_up_locked();
      } catch (...) {
        end_writing();
        throw;
      }
      if (is_current) return lock;
      end_writing();
      static_cast<void>(replica_->reload());
      continue;
    }
    lock.unlock();
    if (!backoff.pause()) throw_locked_out(operation, backoff.elapsed());
    lock.lock();
  }
}

template <typename Make>
void FileStore::write(RecordType type, Make&& make) {
  record_.clear();
  RecordWriter writer(record_, type);
  make(writer);
  writer.end();
  replica_->write(record_);
  replica_->compact_if_due();
  if (record_.capacity() > kRecordKeptBytes) record_ = std::string();
}

void FileStore::put(Bytes key, Bytes value, std::optional<Instant> expires_at) {
  write(expires_at ? RecordType::kSetFor : RecordType::kSet, [&](RecordWriter& record) {
    if (expires_at) record.u64(expiry_to_file_ms(*expires_at));
    record.string(key).string(value);
  });
}

void FileStore::put_all(const std::vector<Bytes>& pairs) {
  write(RecordType::kMultiSet, [&](RecordWriter& record) {
    record.u32(static_cast<uint32_t>(pairs.size() / 2));
    for (Bytes item : pairs) record.string(item);
  });
}

void FileStore::extend(Bytes key, Bytes value) {
  write(RecordType::kAppend, [&](RecordWriter& record) { record.string(key).string(value); });
}

void FileStore::erase(Bytes key) {
  write(RecordType::kDelete, [&](RecordWriter& record) { record.string(key); });
}

void FileStore::erase_prefix(Bytes prefix) {
  write(RecordType::kDeletePrefix, [&](RecordWriter& record) { record.string(prefix); });
}

void FileStore::push(Bytes key, Bytes item) {
  write(RecordType::kPush, [&](RecordWriter& record) { record.string(key).string(item); });
}

std::optional<std::string> FileStore::try_pop(Bytes key, Duration timeout) {
  const Writing writing(*this, "queue_pop", timeout);
  const std::string* first = table().front(key);
  if (first == nullptr) return std::nullopt;
  std::string item = *first;
  write(RecordType::kPop, [&](RecordWriter& record) { record.string(key); });
  return item;
}

// An item is taken by a record in the file, under the lock. So a blocked call waits until there is
// one and then tries to be the one who takes it.
TakenBytes FileStore::queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  Deadline deadline = Deadline::after(timeout);
  for (;;) {
    Duration left = block ? deadline.left() : this->timeout();
    if (std::optional<std::string> item = try_pop(key, left)) return std::move(*item);
    if (!block) throw_queue_empty(key, describe());
    wait_for("queue_pop", {key}, deadline.left(), Table::Need::kQueue);
  }
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
