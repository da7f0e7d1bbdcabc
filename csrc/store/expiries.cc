#include "store/expiries.h"

namespace rdzv {

void Expiries::set(Bytes key, Instant at) {
  auto found = times_.find(key);
  if (found == times_.end()) {
    found = times_.emplace(std::string(key), at).first;
    bytes_ += kKeyBytes + key.size();
  } else {
    order_.erase({found->second, &found->first});
    found->second = at;
  }
  order_.insert({at, &found->first});
}

void Expiries::clear(Bytes key) {
  auto found = times_.find(key);
  if (found == times_.end()) return;
  order_.erase({found->second, &found->first});
  bytes_ -= kKeyBytes + key.size();
  times_.erase(found);
}

std::optional<Instant> Expiries::find(Bytes key) const {
  auto found = times_.find(key);
  if (found == times_.end()) return std::nullopt;
  return found->second;
}

std::optional<Instant> Expiries::next() const {
  if (order_.empty()) return std::nullopt;
  return order_.begin()->first;
}

}  // namespace rdzv
