// The part of FileStore that writes: each operation takes the writer's lock, learns what is new,
// decides, and adds one record.
#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "store/file_lock.h"
#include "store/file_store.h"
#include "store/meeting.h"

namespace rdzv {
namespace {

using file_format::RecordType;
using file_format::RecordWriter;

// A buffer that one large record needed is not kept.
constexpr size_t kRecordKeptBytes = 1024 * 1024;
// For whoever gives up waiting at a barrier to say so.
constexpr Duration kLeaveTimeout = std::chrono::milliseconds(50);

}  // namespace

class FileStore::WriterLock {
 public:
  explicit WriterLock(FileReplica& replica) : replica_(replica) {}
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;
  ~WriterLock() { replica_.log().unlock(); }

 private:
  FileReplica& replica_;
  HeldRole role_;
};

template <typename Work>
auto FileStore::with_lock(const char* operation, Duration timeout, Work&& work) {
  throw_if_forked();
  LockBackoff backoff(timeout);
  Lock lock(mutex_);
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

// The verdict on what looked wrong to a reader.
void FileStore::check_locked(const char* operation, Duration timeout) {
  with_lock(operation, timeout, [] {});
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

void FileStore::put_until(Bytes key, Bytes value, Instant expires_at) {
  record_.clear();
  RecordWriter writer(record_, RecordType::kSetFor);
  writer.u64(expiry_to_file_ms(expires_at)).string(key).string(value).end();
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
  return with_lock("add", timeout(), [&] {
    Table& table = replica_->table();
    Table::Add result = table.sum(key, amount);
    if (result.status != Table::AddStatus::kOk) {
      bool overflow = result.status == Table::AddStatus::kOverflow;
      throw Error(ErrorCode::kNotANumber,
                  not_a_number_text(key, table.find(key)->bytes, amount, overflow) + " (" +
                      describe() + ")");
    }
    char text[24];
    char* end = std::to_chars(text, text + sizeof(text), result.value).ptr;
    Bytes sum(text, static_cast<size_t>(end - text));
    if (std::optional<Instant> expires_at = table.expiry(key)) {
      put_until(key, sum, *expires_at);
    } else {
      put(key, sum);
    }
    return result.value;
  });
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
  with_lock("multi_set", timeout(), [&] { write_pairs(pairs); });
}

void FileStore::write_pairs(const std::vector<Bytes>& pairs) {
  if (pairs.empty()) return;
  record_.clear();
  RecordWriter writer(record_, RecordType::kMultiSet);
  writer.u32(static_cast<uint32_t>(pairs.size() / 2));
  for (Bytes item : pairs) writer.string(item);
  writer.end();
  write(record_);
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

void FileStore::arrive_at(const BarrierCall& call, Duration timeout) {
  with_lock("barrier", timeout, [&] {
    TableStep step = arrive(call, replica_->table());
    if (step.refusal) {
      throw Error(step.refusal->code(), step.refusal->message() + " (" + describe() + ")");
    }
    write_pairs(step.pairs);
  });
}

void FileStore::arrive_at(const ExchangeCall& call, Duration timeout) {
  with_lock("exchange", timeout, [&] {
    TableStep step = arrive(call, replica_->table());
    if (step.refusal) {
      throw Error(step.refusal->code(), step.refusal->message() + " (" + describe() + ")");
    }
    write_pairs(step.pairs);
  });
}

// The error of one whose time is over; none if all have come in the last moment.
std::optional<Error> FileStore::leave_from(const BarrierCall& call, Duration elapsed) {
  return with_lock("barrier", kLeaveTimeout, [&]() -> std::optional<Error> {
    Table& table = replica_->table();
    int64_t count = table.sum(call.key, 0).value;
    if (count >= call.target()) return std::nullopt;
    std::vector<int64_t> missing = missing_ranks(call, table);
    Error error(ErrorCode::kTimeout,
                barrier_timeout_text(call, count, missing, elapsed) + " (" + describe() + ")",
                missing_at(call.key, missing));
    write_pairs(leave(call, table).pairs);
    return error;
  });
}

Store::VersionSet FileStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  check_key("set_if_version", key);
  check_value("set_if_version", key, value);
  return with_lock("set_if_version", timeout(), [&]() -> VersionSet {
    const Table::Value* current = replica_->table().find(key);
    uint64_t current_version = current == nullptr ? 0 : current->version;
    if (current_version != version) return {false, current_version};
    put(key, value);
    return {true, replica_->table().version()};
  });
}

void FileStore::set_for(Bytes key, Bytes value, Duration ttl) {
  check_key("set", key);
  check_value("set", key, value);
  check_time_to_live(key, ttl);
  with_lock("set", timeout(),
            [&] { put_until(key, value, replica_->now() + std::min(ttl, kForever)); });
}

int64_t FileStore::delete_prefix(Bytes prefix) {
  check_key("delete_prefix", prefix);
  return with_lock("delete_prefix", timeout(), [&] {
    int64_t count = 0;
    Table::PrefixWalk walk(prefix);
    replica_->table().walk(walk, SIZE_MAX, [&](Bytes) { ++count; });
    if (count == 0) return count;
    record_.clear();
    RecordWriter(record_, RecordType::kDeletePrefix).string(prefix).end();
    write(record_);
    return count;
  });
}

}  // namespace rdzv
