// NativeStore's operations, each carried out: what they ask and what is answered is in
// native_operations.h.
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "client/native_operations.h"
#include "client/native_store.h"

namespace rdzv {

namespace operations = native_operations;

void NativeStore::ping() {
  run(operations::ping(timeout()));
}

void NativeStore::set_for(Bytes key, Bytes value, Duration ttl) {
  run(operations::set(key, value, ttl, timeout()));
}

TakenBytes NativeStore::read(Bytes key, Duration timeout) {
  return run_for<TakenBytes>(operations::read(key, timeout));
}

Store::Exchange NativeStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  return run_for<Exchange>(operations::compare_exchange(key, expected, desired, timeout()));
}

int64_t NativeStore::add(Bytes key, int64_t amount) {
  return run_for<int64_t>(operations::add(key, amount, timeout()));
}

int64_t NativeStore::add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount,
                                  Duration timeout) {
  return run_for<int64_t>(operations::add_wire_key(wire_key, shown_key, amount, timeout));
}

bool NativeStore::check(const std::vector<Bytes>& keys) {
  return run_for<bool>(operations::check(keys, timeout()));
}

void NativeStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  run(operations::wait(keys, timeout));
}

bool NativeStore::delete_key(Bytes key) {
  return run_for<bool>(operations::delete_key(key, timeout()));
}

int64_t NativeStore::num_keys() {
  return run_for<int64_t>(operations::num_keys(timeout()));
}

std::vector<std::string> NativeStore::list_keys(Bytes prefix) {
  return run_for<std::vector<std::string>>(operations::list_keys(prefix, timeout()));
}

void NativeStore::append(Bytes key, Bytes value) {
  run(operations::append(key, value, timeout()));
}

std::vector<TakenBytes> NativeStore::multi_read(const std::vector<Bytes>& keys, Duration timeout) {
  return run_for<std::vector<TakenBytes>>(operations::multi_read(keys, timeout));
}

void NativeStore::multi_set(const std::vector<Bytes>& pairs) {
  run(operations::multi_set(pairs, timeout()));
}

Store::Versioned NativeStore::try_get(Bytes key) {
  return run_for<Versioned>(operations::try_get(key, timeout()));
}

Store::VersionSet NativeStore::set_if_version(Bytes key, Bytes value, uint64_t version) {
  return run_for<VersionSet>(operations::set_if_version(key, value, version, timeout()));
}

int64_t NativeStore::delete_prefix(Bytes prefix) {
  return run_for<int64_t>(operations::delete_prefix(prefix, timeout()));
}

void NativeStore::queue_push(Bytes key, Bytes item) {
  run(operations::queue_push(key, item, timeout()));
}

TakenBytes NativeStore::queue_pop(Bytes key, bool block, Duration timeout) {
  // One that does not wait may still have to wait for the server.
  NativeOperation pop = operations::queue_pop(key, block, block ? timeout : this->timeout());
  try {
    return run_for<TakenBytes>(pop);
  } catch (const Error& error) {
    if (!operations::queue_is_empty(pop.request, error)) throw;
    throw_queue_empty(key, describe());
  }
}

int64_t NativeStore::queue_len(Bytes key) {
  return run_for<int64_t>(operations::queue_len(key, timeout()));
}

void NativeStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  run(operations::barrier(key, seat, random_token(), timeout));
}

std::vector<TakenBytes> NativeStore::exchange(Bytes key, int64_t rank, int64_t world_size,
                                              Bytes value, Duration timeout) {
  return run_for<std::vector<TakenBytes>>(
      operations::exchange(key, rank, world_size, value, timeout));
}

Store::Versioned NativeStore::watch(Bytes key, uint64_t known_version, Duration timeout) {
  return run_for<Versioned>(operations::watch(key, known_version, timeout));
}

}  // namespace rdzv
