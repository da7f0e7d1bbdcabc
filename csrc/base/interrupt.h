// Lets a blocking call run the program's signal handlers, and stop when one of them asks for it
// (Ctrl-C), without the core knowing Python. Whoever owns the signals installs a check; blocking
// calls wake at least every kInterruptSlice to ask it.
#pragma once

#include "base/clock.h"
#include "base/mutex.h"

namespace rdzv {

inline constexpr Duration kInterruptSlice = std::chrono::milliseconds(50);

// Returns true if the current call should stop. Called on the thread that blocks. It may take as
// long as a handler likes, and call any store, also the one whose call it interrupts.
using InterruptCheck = bool (*)();

void set_interrupt_check(InterruptCheck check);

// Throws Error{kInterrupted} if the check says so. The thread holds no Mutex and no HeldRole: one
// that does is a mistake of ours, and ends the process in every build.
void throw_if_interrupted();

// The same in the middle of what `lock` protects: lets go of it meanwhile. It is held again
// afterwards, also when this throws.
void throw_if_interrupted(Lock& lock);

}  // namespace rdzv
