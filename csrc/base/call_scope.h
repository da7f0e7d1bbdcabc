// The calls that a thread is in, from the outermost view of a store down to the store, so that a
// blocked one ends when any of what it goes through is closed by another thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace rdzv {

class CallScope {
 public:
  // Both outlive the call. `closed`: says so once it is true.
  CallScope(const std::atomic<bool>& closed, const std::string& name);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

  // Throws kClosed if something that this thread's call goes through is closed. Asked by
  // throw_if_interrupted(), as blocking calls do at every slice.
  static void throw_if_closed();

  // While a signal's handler runs in the middle of a call: the handler's own calls are others.
  class Suspended {
   public:
    Suspended();
    ~Suspended();
    Suspended(const Suspended&) = delete;
    Suspended& operator=(const Suspended&) = delete;

   private:
    const CallScope* suspended_;
  };

 private:
  const std::atomic<bool>& closed_;
  const std::string& name_;
  const CallScope* outer_;
};

}  // namespace rdzv
