// RDZV_CHECK: an invariant that holds in every build. A broken one ends the process with a message,
// because going on would hand wrong ranks or lost values to a training job.
#pragma once

#include <cstdio>
#include <cstdlib>

#define RDZV_CHECK(condition, message)                                                             \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      std::fprintf(stderr, "rendezvous: broken invariant at %s:%d: %s (%s)\n", __FILE__, __LINE__, \
                   message, #condition);                                                           \
      std::abort();                                                                                \
    }                                                                                              \
  } while (false)
