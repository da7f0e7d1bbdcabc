// How many requests a second the clients of one address may make, all together: as many as one
// second allows at once, and then so many a second. Of addresses that have nobody connected, the
// last ones are remembered, so that connecting anew is no way around it. Pure: time is an argument.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <new>
#include <string>

#include "base/clock.h"
#include "base/hash.h"

namespace rdzv {

class Rates {
 public:
  static constexpr Duration kBurst = std::chrono::seconds(1);

  struct Rate {
    Instant paid_until{};  // each request moves it on by as long as it has to last
    size_t connections = 0;

    // How many requests are allowed now.
    uint64_t allowed(Instant now, Duration each) const {
      return static_cast<uint64_t>((now + kBurst - std::max(paid_until, now)) / each);
    }
    void take(uint64_t requests, Instant now, Duration each) {
      paid_until = std::max(paid_until, now) + each * static_cast<int64_t>(requests);
    }
    // When the next one is.
    Instant next(Duration each) const { return paid_until + each - kBurst; }
  };

  // `requests_a_second`: 0: as many as they like.
  Rates(uint64_t requests_a_second, HashSeed seed)
      : each_(requests_a_second == 0 ? 0 : std::max<int64_t>(kSecond / requests_a_second, 1)),
        rates_(0, BytesHash{seed}) {}

  bool are_limited() const { return each_ > Duration::zero(); }
  Duration each() const { return each_; }

  // A connection from there. It stays where it is until it has gone.
  Rate& come(const std::string& address) {
    Rate& rate = rates_.try_emplace(address).first->second;
    ++rate.connections;
    return rate;
  }
  void go(Rate& rate, const std::string& address) noexcept {
    if (--rate.connections > 0) return;
    try {
      gone_.push_back(address);
    } catch (const std::bad_alloc&) {
      rates_.erase(rates_.find(address));
      return;
    }
    if (gone_.size() <= kGoneMax) return;
    const auto oldest = rates_.find(gone_.front());
    if (oldest != rates_.end() && oldest->second.connections == 0) rates_.erase(oldest);
    gone_.pop_front();
  }

 private:
  static constexpr uint64_t kSecond = 1'000'000'000;
  static constexpr size_t kGoneMax = 4096;

  const Duration each_;
  BytesMap<Rate> rates_;
  std::deque<std::string> gone_;
};

}  // namespace rdzv
