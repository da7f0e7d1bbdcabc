// How many nodes there are of each topology key, and how many of them are in whole segments.
// Counts nothing while segments have one node. Plain value: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace rdzv {

class Blocks {
 public:
  // To be told while there are none.
  void set_segment(uint32_t nodes) { segment_ = nodes; }
  void add(const std::string& key) {
    if (segment_ == 1) return;
    if (++counts_[key] % segment_ == 0) whole_ += segment_;
  }
  void remove(const std::string& key) {
    if (segment_ == 1) return;
    const auto found = counts_.find(key);
    if (found->second-- % segment_ == 0) whole_ -= segment_;
    if (found->second == 0) counts_.erase(found);
  }
  void clear() {
    counts_.clear();
    whole_ = 0;
  }
  // Nodes in whole segments.
  size_t whole() const { return whole_; }
  // A key that has a whole one; null: there is none.
  const std::string* any_whole() const {
    if (whole_ == 0) return nullptr;
    for (const auto& [key, count] : counts_) {
      if (count >= segment_) return &key;
    }
    return nullptr;
  }

 private:
  std::map<std::string, uint32_t> counts_;
  uint32_t segment_ = 1;
  size_t whole_ = 0;
};

}  // namespace rdzv
