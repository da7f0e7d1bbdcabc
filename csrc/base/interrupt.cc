#include "base/interrupt.h"

#include <atomic>

#include "base/call_scope.h"
#include "base/check.h"
#include "base/error.h"

namespace rdzv {
namespace {
std::atomic<InterruptCheck> g_check{nullptr};
}  // namespace

void set_interrupt_check(InterruptCheck check) {
  g_check.store(check);
}

void throw_if_interrupted() {
  RDZV_CHECK(held_by_this_thread == 0,
             "no lock and no role is held while signal handlers run; a handler may wait for it");
  CallScope::throw_if_closed();
  CallScope::Suspended handler_calls_are_its_own;
  InterruptCheck check = g_check.load();
  if (check != nullptr && check()) throw Error(ErrorCode::kInterrupted, "interrupted by a signal");
}

void throw_if_interrupted(Lock& lock) {
  lock.unlock();
  try {
    throw_if_interrupted();
  } catch (...) {
    lock.lock();
    throw;
  }
  lock.lock();
}

}  // namespace rdzv
