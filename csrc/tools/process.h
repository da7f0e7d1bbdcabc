// What the kernel knows of a process, the server's or our own: CPU time and memory (Linux, /proc).
#pragma once

#include <sys/types.h>

namespace rdzv::tools {

// User and system time of all its threads so far, in seconds; of a thread that sleeps it is exact,
// of one that runs a few milliseconds late. 0 when there is no such process, or pid is 0.
double cpu_seconds_of(pid_t pid);
double own_cpu_seconds();

// Memory that is its own (not files, not shared), in bytes; 0 as above.
double anonymous_bytes_of(pid_t pid);

// Of a process: 0 where it cannot be known. A limit of 0: unknown, too.
struct OpenFiles {
  unsigned long open = 0;
  unsigned long limit = 0;
};
OpenFiles open_files_of(pid_t pid);

// As many open files as this process may have; the limit it got.
unsigned long raise_file_limit();

}  // namespace rdzv::tools
