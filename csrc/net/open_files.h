// How many descriptors this process may have. The limit is the whole process's: who may raise it is
// decided by the callers. Any thread.
#pragma once

#include <cstdint>
#include <string>

namespace rdzv {

struct OpenFiles {
  uint64_t soft = 0;  // the limit that counts
  uint64_t hard = 0;  // how far the process may raise it itself
};
OpenFiles open_files_limit();

// Raises the soft limit to the hard one. False when there was nothing to raise.
bool raise_open_files_limit();

// How many more descriptors fit under the soft limit, as far as that can be found out.
uint64_t open_files_left();

}  // namespace rdzv
