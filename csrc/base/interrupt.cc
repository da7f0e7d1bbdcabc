#include "base/interrupt.h"

#include <atomic>

#include "base/call_scope.h"
#include "base/error.h"

namespace rdzv {
namespace {
std::atomic<InterruptCheck> g_check{nullptr};
}  // namespace

void set_interrupt_check(InterruptCheck check) {
  g_check.store(check);
}

void throw_if_interrupted() {
  CallScope::throw_if_closed();
  CallScope::Suspended handler_calls_are_its_own;
  InterruptCheck check = g_check.load();
  if (check != nullptr && check()) throw Error(ErrorCode::kInterrupted, "interrupted by a signal");
}

}  // namespace rdzv
