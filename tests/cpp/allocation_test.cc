// What the server allocates while it serves: nothing, once the keys are there; and what a client
// allocates for a large value: room for it, once. Replaces the global allocation functions of the
// whole test program, to count those of threads other than the test's, and to let some fail
// (allocations.h).
// Not with sanitizers, which bring their own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "allocations.h"
#include "client/tcp_store.h"
#include "server/server.h"
#include "store/hash_store.h"
#include "support.h"

namespace {

std::atomic<size_t> allocations_of_others{0};
thread_local bool is_test_thread = false;
thread_local size_t bytes_here = 0;

// Of this thread.
struct Failing {
  bool is_on = false;
  bool has_happened = false;
  bool for_all = false;
  size_t before = 0;
};
thread_local Failing failing;

bool fails() {
  if (!failing.is_on) return false;
  if (failing.has_happened) return failing.for_all;
  if (failing.before-- > 0) return false;
  return failing.has_happened = true;
}

void* counted(void* memory, size_t size) {
  bytes_here += size;
  if (!is_test_thread) allocations_of_others.fetch_add(1, std::memory_order_relaxed);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t size) {
  if (fails()) throw std::bad_alloc();
  return counted(std::malloc(size), size);
}
void* operator new(size_t size, std::align_val_t alignment) {
  if (fails()) throw std::bad_alloc();
  auto align = static_cast<size_t>(alignment);
  return counted(std::aligned_alloc(align, (size + align - 1) / align * align), size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace rdzv::test {

FailedAllocation::FailedAllocation(size_t before, bool for_all) {
  failing = {true, false, for_all, before};
}
FailedAllocation::~FailedAllocation() {
  failing.is_on = false;
}
bool FailedAllocation::has_happened() const {
  return failing.has_happened;
}

}  // namespace rdzv::test

using namespace rdzv;
using namespace rdzv::test;
using c10d::Code;
using native::Operation;

namespace {

// How often the server allocates in 100 calls, after a few that fill its buffers.
template <typename Call>
size_t allocations_of(Call&& call) {
  is_test_thread = true;
  for (int i = 0; i < 20; ++i) call();
  size_t before = allocations_of_others;
  for (int i = 0; i < 100; ++i) call();
  return allocations_of_others - before;
}

// How many bytes this thread allocates for one call, of kCalls.
constexpr size_t kCalls = 11;
template <typename Call>
size_t bytes_of(Call&& call) {
  call();
  size_t before = bytes_here;
  for (size_t i = 1; i < kCalls; ++i) call();
  return (bytes_here - before) / (kCalls - 1);
}

const std::string kValue(200, 'v');

}  // namespace

TEST_CASE("the counter sees what the server allocates") {
  Server server("127.0.0.1", 0);
  C10dPeer peer(server.port());
  int keys = 0;
  CHECK(allocations_of([&] {
          peer.send(
              c10d_request(Code::kSet, {"/a key that is new " + std::to_string(++keys), kValue}));
          peer.ping();
        }) >= 100);
}

TEST_CASE("get, set, add and compare_set of small values allocate nothing over c10d") {
  Server server("127.0.0.1", 0);
  C10dPeer peer(server.port());
  CHECK(allocations_of([&] {
          peer.send(c10d_request(Code::kSet, {"/a key longer than a short string", kValue}));
          peer.send(c10d_request(Code::kGet, {"/a key longer than a short string"}));
          CHECK(peer.receive_bytes() == kValue);
        }) == 0);
  CHECK(allocations_of([&] {
          peer.send(c10d_add("/a counter with a long name, too", 1));
          peer.receive_i64();
        }) == 0);
  CHECK(allocations_of([&] {
          peer.send(c10d_request(Code::kCompareSet,
                                 {"/a key longer than a short string", kValue, kValue}));
          CHECK(peer.receive_bytes() == kValue);
        }) == 0);
}

TEST_CASE(
    "get, set, add and compare_set of small values allocate nothing over the native protocol") {
  Server server("127.0.0.1", 0);
  NativePeer peer(server.port());
  const std::string key = Fields().string32("/a key longer than a short string").bytes;
  const std::string value = Fields().string32(kValue).bytes;
  auto ok = [&](Operation operation, const std::string& body) {
    CHECK(peer.call(operation, body).status == ErrorCode::kOk);
  };
  CHECK(allocations_of([&] { ok(Operation::kSet, key + value); }) == 0);
  CHECK(allocations_of([&] { ok(Operation::kGet, Fields().u32(1000).bytes + key); }) == 0);
  CHECK(allocations_of([&] { ok(Operation::kTryGet, key); }) == 0);
  CHECK(allocations_of([&] { ok(Operation::kCompareSet, key + value + value); }) == 0);
  CHECK(allocations_of([&] {
          ok(Operation::kAdd, Fields().string32("/a counter with a long name, too").u64(1).bytes);
        }) == 0);
}

TEST_CASE("reading a large value of a HashStore copies nothing, whatever is written meanwhile") {
  HashStore store;
  const std::string value(1 << 20, 'v');
  store.set("a", value);
  store.set("b", value);
  CHECK(bytes_of([&] { store.read("a", kHang); }) < 1000);
  CHECK(bytes_of([&] { store.multi_read({"a", "b"}, kHang); }) < 1000);
  CHECK(bytes_of([&] { store.try_get("a"); }) < 1000);
  CHECK(bytes_of([&] { store.watch("a", 0, kHang); }) < 1000);
  CHECK(bytes_of([&] { store.compare_exchange("a", "another", "x"); }) < 1000);
  for (size_t i = 0; i < kCalls; ++i) store.queue_push("q", value);
  CHECK(bytes_of([&] { store.queue_pop("q", false, kHang); }) < 1000);
  store.exchange("x", 0, 1, value, kHang);
  CHECK(bytes_of([&] { store.exchange("x", 0, 1, value, kHang); }) < 2000);
  TakenBytes taken = store.read("a", kHang);
  store.set("a", std::string(1 << 20, 'w'));
  store.append("b", "x");
  CHECK(taken.view() == value);
}

TEST_CASE("a large answer of the native protocol is gathered where it is taken from") {
  Server server("127.0.0.1", 0);
  TCPStore::Options options;
  options.host = "127.0.0.1";
  options.port = server.port();
  options.timeout = kHang;
  const std::shared_ptr<TCPStore> store = TCPStore::open(options);
  const std::string value(4 << 20, 'v');
  store->set("a", value);
  store->set("b", value);
  auto read = [&] { CHECK(store->read("a", kHang).view() == value); };
  CHECK(bytes_of(read) < value.size() + value.size() / 8);
  auto read_both = [&] { CHECK(store->multi_read({"a", "b"}, kHang)[1].view() == value); };
  CHECK(bytes_of(read_both) < 2 * value.size() + value.size() / 4);
  auto takes_once = [&](auto&& take) {
    CHECK(bytes_of([&] { CHECK(take() == value); }) < value.size() + value.size() / 8);
  };
  takes_once([&] { return store->try_get("a").value; });
  takes_once([&] { return store->watch("a", 0, kHang).value; });
  takes_once([&] { return store->compare_exchange("a", "another", "x").value; });
  for (size_t i = 0; i < kCalls; ++i) store->queue_push("q", value);
  takes_once([&] { return store->queue_pop("q", false, kHang); });
  store->exchange("x", 0, 1, value, kHang);
  // It gives the value, too: in a request, which becomes a frame.
  CHECK(bytes_of([&] { store->exchange("x", 0, 1, value, kHang); }) <
        3 * value.size() + value.size() / 4);
}

#endif
