// Allocations of this thread that fail on purpose. Only in a build without sanitizers, which bring
// allocation functions of their own (allocation_test.cc).
#pragma once

#include <cstddef>

namespace rdzv::test {

// While it is there, the one behind `before` others finds no memory; with `for_all` those behind it
// neither.
class FailedAllocation {
 public:
  FailedAllocation(size_t before, bool for_all);
  ~FailedAllocation();
  FailedAllocation(const FailedAllocation&) = delete;
  FailedAllocation& operator=(const FailedAllocation&) = delete;

  bool has_happened() const;
};

}  // namespace rdzv::test
