#include "base/call_scope.h"

#include "base/error.h"

namespace rdzv {
namespace {
thread_local const CallScope* t_innermost = nullptr;
}  // namespace

CallScope::CallScope(const std::atomic<bool>& closed, const std::string& name)
    : closed_(closed), name_(name), outer_(t_innermost) {
  t_innermost = this;
}

CallScope::~CallScope() {
  t_innermost = outer_;
}

void CallScope::throw_if_closed() {
  for (const CallScope* scope = t_innermost; scope != nullptr; scope = scope->outer_) {
    if (scope->closed_.load(std::memory_order_relaxed))
      throw Error(ErrorCode::kClosed, scope->name_ + " was closed while this call waited");
  }
}

CallScope::Suspended::Suspended() : suspended_(t_innermost) {
  t_innermost = nullptr;
}

CallScope::Suspended::~Suspended() {
  t_innermost = suspended_;
}

}  // namespace rdzv
