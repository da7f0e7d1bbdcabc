// Addresses, or networks of IPv6, whose clients were refused again and again, for want of a token or
// with a wrong one. Who comes from there next is looked at a little later, so that guessing is slow;
// nobody else waits for that, and whoever has a token gets in after at most kWaitMax. Remembers the
// last kAddressesMax. Pure: time is an argument.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <list>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/hash.h"

namespace rdzv {

class Suspects {
 public:
  static constexpr size_t kAddressesMax = 1024;
  static constexpr uint64_t kFree = 10;
  static constexpr Duration kWaitMin = std::chrono::milliseconds(10);
  static constexpr Duration kWaitMax = std::chrono::seconds(1);
  // After so long without another refusal all is forgotten.
  static constexpr Duration kRemembered = std::chrono::seconds(60);

  explicit Suspects(HashSeed seed) : by_address_(0, BytesHash{seed}) {}

  bool empty() const { return by_address_.empty(); }
  size_t size() const { return by_address_.size(); }

  // One from there was refused.
  void note(const std::string& address, Instant now) {
    const auto found = by_address_.find(address);
    uint64_t count = 1;
    if (found != by_address_.end()) {
      if (now - found->second->at < kRemembered) count = found->second->count + 1;
      in_order_.erase(found->second);
      by_address_.erase(found);
    } else if (by_address_.size() == kAddressesMax) {
      by_address_.erase(in_order_.front().address);
      in_order_.pop_front();
    }
    in_order_.push_back({address, count, now});
    by_address_.emplace(address, std::prev(in_order_.end()));
  }

  // When a newcomer from there is looked at.
  Instant when(const std::string& address, Instant now) const {
    const auto found = by_address_.find(address);
    if (found == by_address_.end() || now - found->second->at >= kRemembered) return now;
    const uint64_t count = found->second->count;
    if (count <= kFree) return now;
    constexpr uint64_t kDoublings = 7;  // beyond kWaitMax
    const auto wait = kWaitMin * (int64_t{1} << std::min(count - kFree - 1, kDoublings));
    return std::max(now, found->second->at + std::min<Duration>(wait, kWaitMax));
  }

 private:
  struct Suspect {
    std::string address;
    uint64_t count;
    Instant at;  // of the last one
  };

  std::list<Suspect> in_order_;  // the longest unseen first
  BytesMap<std::list<Suspect>::iterator> by_address_;
};

}  // namespace rdzv
