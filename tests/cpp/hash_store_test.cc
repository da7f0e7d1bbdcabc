// HashStore: a blocked pop that is interrupted at the moment in which it is given an item.
#include "store/hash_store.h"

#include <doctest/doctest.h>

#include <string>

#include "base/error.h"
#include "base/interrupt.h"

using namespace rdzv;

namespace {

constexpr Duration kHang = std::chrono::seconds(120);

HashStore* g_store = nullptr;

// Somebody pushes while the signal arrives.
bool push_and_interrupt() {
  g_store->queue_push("q", "1");
  g_store->queue_push("q", "2");
  return true;
}

struct Interrupting {
  explicit Interrupting(HashStore& store) {
    g_store = &store;
    set_interrupt_check(push_and_interrupt);
  }
  ~Interrupting() { set_interrupt_check(nullptr); }
};

}  // namespace

TEST_CASE("an interrupted pop puts its item back where it was") {
  HashStore store;
  {
    Interrupting interrupting(store);
    try {
      store.queue_pop("q", true, kHang);
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::kInterrupted);
    }
  }
  CHECK(store.queue_len("q") == 2);
  CHECK(store.queue_pop("q", true, Duration::zero()) == "1");
  CHECK(store.queue_pop("q", true, Duration::zero()) == "2");
}
