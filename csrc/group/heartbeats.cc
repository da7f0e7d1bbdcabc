#include "group/heartbeats.h"

#include <algorithm>

namespace rdzv {

void Heartbeats::look(Instant now, Duration counted_max) {
  if (looked_ && now > *looked_) counted_ += std::min(now - *looked_, counted_max);
  if (!looked_ || now > *looked_) looked_ = now;
}

void Heartbeats::moved(const NodeId& node, const Member& member) {
  const auto [entry, added] = seen_.try_emplace(node);
  Seen& seen = entry->second;
  if (added) {
    seen.place = order_.insert(order_.end(), &*entry);
  } else {
    order_.splice(order_.end(), order_, seen.place);
  }
  seen.joined = member.joined;
  seen.beats = member.beats;
  seen.moved_at = counted_;
}

void Heartbeats::forget(const NodeId& node) {
  const auto entry = seen_.find(node);
  if (entry == seen_.end()) return;
  order_.erase(entry->second.place);
  if (is_replaced_) forgotten_.try_emplace(entry->first, entry->second);
  seen_.erase(entry);
}

void Heartbeats::observe(const Roster& roster) {
  is_replaced_ = true;
  for (auto entry = seen_.begin(); entry != seen_.end();) {
    const Member* member = roster.find(entry->first);
    if (member == nullptr || member->role == Role::kDone) {
      order_.erase(entry->second.place);
      entry = seen_.erase(entry);
    } else {
      ++entry;
    }
  }
  bool restored = false;
  roster.for_each([&](const NodeId& node, const Member& member) {
    if (member.role == Role::kDone) return;
    const auto entry = seen_.find(node);
    if (entry != seen_.end() && entry->second.is_same(member)) return;
    moved(node, member);
    const auto before = forgotten_.find(node);
    if (before == forgotten_.end() || !before->second.is_same(member)) return;
    seen_.at(node).moved_at = before->second.moved_at;
    restored = true;
  });
  forgotten_.clear();
  if (!restored) return;
  order_.sort([](const auto* a, const auto* b) { return a->second.moved_at < b->second.moved_at; });
}

const NodeId* Heartbeats::silent_for(Duration window) const {
  if (order_.empty() || silence(order_.front()) < window) return nullptr;
  return &order_.front()->first;
}

std::optional<Duration> Heartbeats::silence_of(const NodeId& node, Instant now) const {
  const auto entry = seen_.find(node);
  if (entry == seen_.end()) return std::nullopt;
  const Duration since_look = looked_ && now > *looked_ ? now - *looked_ : Duration::zero();
  return silence(&*entry) + since_look;
}

std::optional<Instant> Heartbeats::next_look(Duration window, Duration counted_max) const {
  if (order_.empty() || !looked_) return std::nullopt;
  const Duration left = window - silence(order_.front());
  return *looked_ + std::clamp(left, Duration::zero(), counted_max);
}

}  // namespace rdzv
