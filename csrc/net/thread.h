// Threads of the core. They block every signal, so that the program's own handlers (Python's, on
// its main thread) run where the program expects them.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"

namespace rdzv {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// Throws kConnection when the system has no room for another thread.
template <typename Function>
std::thread start_thread(Function&& function) {
  SignalsBlocked blocked;  // a new thread inherits the mask
  try {
    return std::thread(std::forward<Function>(function));
  } catch (const std::system_error& error) {
    throw Error(ErrorCode::kConnection,
                "cannot start a thread: " + refusal_text(error.code().value()));
  }
}

template <typename Function>
void start_detached_thread(Function&& function) {
  start_thread(std::forward<Function>(function)).detach();
}

}  // namespace rdzv
