// How messages show keys and times.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"

namespace rdzv {

// With unprintable bytes escaped: one line, which does nothing to a terminal.
std::string printable(Bytes bytes);
// 'key' with unprintable bytes escaped and a long one cut.
std::string quoted(Bytes bytes, size_t shown_max = 120);
// 'a', 'b' and 98 more. `count`: of all, when `items` are only the first of them.
std::string quoted_list(const std::vector<Bytes>& items, size_t count = 0);
// "1 node", "2 nodes"
std::string counted(uint64_t count, Bytes one);
// "5 s", "0.25 s"
std::string seconds_text(Duration duration);

}  // namespace rdzv
