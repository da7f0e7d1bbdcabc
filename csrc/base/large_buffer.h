// Buffers of megabytes. What such a one costs is the system's memory for it, a page of 4 KiB at a
// time when it is first touched and when it is given back: 32 ms for 64 MiB. Of large pages, where
// the system has them, it needs a few.
#pragma once

#include <cstddef>
#include <string>

namespace rdzv {

// Room for so many bytes. Nothing is touched before it is written.
void reserve_large(std::string& buffer, size_t bytes);

}  // namespace rdzv
