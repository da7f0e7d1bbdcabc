// How long clients wait for what, beyond the timeouts of their callers.
#pragma once

#include <chrono>

#include "base/clock.h"

namespace rdzv {

// A call that waits for others ends when the server says so, or with the client's own word; either
// gets this long to arrive. Others get it too, so that a timeout of zero is a "now" that can
// succeed.
inline constexpr Duration kAnswerGrace = std::chrono::milliseconds(90);

// How long a call that waits for nobody may take to get a lost connection back; one that waits may
// use all its time.
inline constexpr Duration kReconnectMax = std::chrono::seconds(10);

// What is answered at once and is not for so long makes its connection suspect: a new one is made,
// and if the server answers there and still not here, this one is given up.
inline constexpr Duration kSilenceMax = std::chrono::seconds(4);
// How long the old one gets for that, after the new one was greeted.
inline constexpr Duration kSignOfLife = std::chrono::milliseconds(250);

}  // namespace rdzv
