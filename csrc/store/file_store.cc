#include "store/file_store.h"

#include <algorithm>
#include <charconv>
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

class FileStore::WriterLock {
 public:
  explicit WriterLock(FileReplica& replica) : replica_(replica) {}
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;
  ~WriterLock() { replica_.log().unlock(); }

 private:
  FileReplica& replica_;
};

FileStore::FileStore(const Options& options)
    : options_(options), path_(options.path), fork_generation_(rdzv::fork_generation()) {
  set_timeout(options.timeout);
  OpenedFile opened = open_store_file(options.path, options.job_id, options.timeout);
  if (options.shared) opened.log.set_shared(true);
  real_path_ = opened.log.path();
  users_ = std::move(opened.users);
  FileReplica::Listener& listener = *this;
  replica_ = std::make_unique<FileReplica>(std::move(opened.log), std::move(opened.header),
                                           options.compact_min_bytes, listener);
  std::unique_lock lock(mutex_);
  refresh(lock, "opening", options.timeout);
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
  throw Error(ErrorCode::kTimeout,
              std::string(operation) + " timed out after " + seconds_text(elapsed) + ": " +
                  (holder.empty() ? "another process" : holder) +
                  " holds the writer's lock and does not release it; end it if it is stopped (" +
                  describe() + ")");
}

template <typename Work>
auto FileStore::with_lock(const char* operation, Duration timeout, Work&& work) {
  throw_if_forked();
  LockBackoff backoff(timeout);
  std::unique_lock lock(mutex_);
  while (true) {
    if (replica_->log().try_lock()) {
      {
        WriterLock writer(*replica_);
        if (replica_->catch_up_locked()) return work();
      }
      static_cast<void>(replica_->reload());
      continue;
    }
    lock.unlock();
    if (!backoff.pause()) throw_locked_out(operation, backoff.elapsed());
    lock.lock();
  }
}

void FileStore::refresh(std::unique_lock<std::mutex>& lock, const char* operation,
                        Duration timeout) {
  if (replica_->catch_up()) return;
  lock.unlock();
  with_lock(operation, timeout, [] {});
  lock.lock();
}

void FileStore::write(Bytes record) {
  replica_->write(record);
  replica_->compact_if_due();
  if (record_.capacity() > kRecordKeptBytes) record_ = std::string();
}

void FileStore::put(Bytes key, Bytes value) {
  record_.clear();
  RecordWriter(record_, RecordType::kSet).string(key).string(value).end();
  write(record_);
}

void FileStore::set(Bytes key, Bytes value) {
  check_key("set", key);
  check_value("set", key, value);
  with_lock("set", timeout(), [&] { put(key, value); });
}

Store::Exchange FileStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  check_key("compare_set", key);
  check_value("compare_set", key, expected);
  check_value("compare_set", key, desired);
  return with_lock("compare_set", timeout(), [&]() -> Exchange {
    const Table::Value* current = replica_->table().find(key);
    if (current == nullptr ? !expected.empty() : current->bytes != expected) {
      if (current == nullptr) return {};
      return {false, true, current->bytes, current->version};
    }
    put(key, desired);
    return {true, true, std::string(desired), replica_->table().version()};
  });
}

int64_t FileStore::add(Bytes key, int64_t amount) {
  check_key("add", key);
  return with_lock("add", timeout(), [&] { return add_locked(key, amount); });
}

int64_t FileStore::add_locked(Bytes key, int64_t amount) {
  Table& table = replica_->table();
  Table::Add result = table.sum(key, amount);
  if (result.status != Table::AddStatus::kOk) {
    bool overflow = result.status == Table::AddStatus::kOverflow;
    throw Error(
        ErrorCode::kNotANumber,
        not_a_number_text(key, table.find(key)->bytes, amount, overflow) + " (" + describe() + ")");
  }
  char text[24];
  char* end = std::to_chars(text, text + sizeof(text), result.value).ptr;
  put(key, Bytes(text, static_cast<size_t>(end - text)));
  return result.value;
}

bool FileStore::delete_key(Bytes key) {
  check_key("delete_key", key);
  return with_lock("delete_key", timeout(), [&] {
    if (replica_->table().find(key) == nullptr) return false;
    record_.clear();
    RecordWriter(record_, RecordType::kDelete).string(key).end();
    write(record_);
    return true;
  });
}

void FileStore::append(Bytes key, Bytes value) {
  check_key("append", key);
  check_value("append", key, value);
  with_lock("append", timeout(), [&] {
    const Table::Value* before = replica_->table().find(key);
    check_value_size("append", key, (before == nullptr ? 0 : before->bytes.size()) + value.size());
    record_.clear();
    RecordWriter(record_, RecordType::kAppend).string(key).string(value).end();
    write(record_);
  });
}

void FileStore::multi_set(const std::vector<Bytes>& pairs) {
  check_pairs("multi_set", pairs);
  if (pairs.empty()) return;
  with_lock("multi_set", timeout(), [&] {
    record_.clear();
    RecordWriter writer(record_, RecordType::kMultiSet);
    writer.u32(static_cast<uint32_t>(pairs.size() / 2));
    for (Bytes item : pairs) writer.string(item);
    writer.end();
    write(record_);
  });
}

std::string FileStore::get(Bytes key, Duration timeout) {
  check_key("get", key);
  throw_if_forked();
  {
    std::unique_lock lock(mutex_);
    refresh(lock, "get", timeout);
    if (const Table::Value* value = replica_->table().find(key)) return value->bytes;
  }
  return std::move(wait_for("get", {key}, timeout, Table::Need::kValue).front());
}

bool FileStore::check(const std::vector<Bytes>& keys) {
  check_keys("check", keys);
  throw_if_forked();
  std::unique_lock lock(mutex_);
  refresh(lock, "check", timeout());
  return replica_->table().has_all(keys);
}

int64_t FileStore::num_keys() {
  throw_if_forked();
  std::unique_lock lock(mutex_);
  refresh(lock, "num_keys", timeout());
  return static_cast<int64_t>(replica_->table().size());
}

std::vector<std::string> FileStore::list_keys(Bytes prefix) {
  check_key("list_keys", prefix);
  throw_if_forked();
  std::vector<std::string> keys;
  {
    std::unique_lock lock(mutex_);
    refresh(lock, "list_keys", timeout());
    replica_->table().for_each_key([&](Bytes key) {
      if (key.starts_with(prefix)) keys.emplace_back(key);
    });
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

void FileStore::queue_push(Bytes key, Bytes item) {
  check_key("queue_push", key);
  check_value("queue_push", key, item);
  with_lock("queue_push", timeout(), [&] {
    record_.clear();
    RecordWriter(record_, RecordType::kPush).string(key).string(item).end();
    write(record_);
  });
}

std::optional<std::string> FileStore::try_pop(Bytes key, Duration timeout) {
  return with_lock("queue_pop", timeout, [&]() -> std::optional<std::string> {
    const std::string* first = replica_->table().front(key);
    if (first == nullptr) return std::nullopt;
    std::string item = *first;
    record_.clear();
    RecordWriter(record_, RecordType::kPop).string(key).end();
    write(record_);
    return item;
  });
}

// One caller more at a barrier.
void FileStore::count_in(Bytes key, Duration timeout) {
  with_lock("barrier", timeout, [&] { add_locked(key, 1); });
}

int64_t FileStore::queue_len(Bytes key) {
  check_key("queue_len", key);
  throw_if_forked();
  std::unique_lock lock(mutex_);
  refresh(lock, "queue_len", timeout());
  return static_cast<int64_t>(replica_->table().queue_size(key));
}

std::shared_ptr<Store> FileStore::clone() {
  throw_if_forked();
  Options options = options_;
  options.timeout = timeout();
  return std::make_shared<FileStore>(options);
}

}  // namespace rdzv
