// Lets a blocking call stop when the program's user asks for it (Ctrl-C), without the core knowing
// Python. Whoever owns the signals installs a check; blocking calls wake at least every
// kInterruptSlice to ask it.
#pragma once

#include "base/clock.h"

namespace rdzv {

inline constexpr Duration kInterruptSlice = std::chrono::milliseconds(50);

// Returns true if the current call should stop. Called without any of our locks held, on the thread
// that blocks.
using InterruptCheck = bool (*)();

void set_interrupt_check(InterruptCheck check);

// Throws Error{kInterrupted} if the check says so.
void throw_if_interrupted();

}  // namespace rdzv
