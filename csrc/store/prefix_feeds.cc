#include "store/prefix_feeds.h"

#include <utility>

namespace rdzv {
namespace {

constexpr size_t kChangeBytes = 192;  // beside its key

size_t bytes_of(Bytes key) {
  return kChangeBytes + key.size();
}

}  // namespace

bool PrefixFeeds::keep(Bytes prefix, const std::function<bool(Bytes)>& is_awaited) {
  if (const auto found = feeds_.find(prefix); found != feeds_.end()) {
    used_.splice(used_.end(), used_, found->second.use);
    return true;
  }
  const auto is_full = [&] {
    return feeds_.size() >= kPrefixesMax ||
           (lengths_.size() >= kLengthsMax && !lengths_.contains(prefix.size()));
  };
  for (auto at = used_.begin(); is_full() && at != used_.end();) {
    const std::string& oldest = **at++;
    if (!is_awaited(oldest)) end(oldest);
  }
  if (is_full()) return false;
  const auto made = feeds_.try_emplace(std::string(prefix)).first;
  Feed& feed = made->second;
  feed.floor = feed.last = ++position_;
  feed.use = used_.insert(used_.end(), &made->first);
  ++lengths_[prefix.size()];
  return true;
}

uint64_t PrefixFeeds::position(Bytes prefix) const {
  const auto found = feeds_.find(prefix);
  return found == feeds_.end() ? 0 : found->second.last;
}

bool PrefixFeeds::knows(Bytes prefix, uint64_t since) const {
  const auto found = feeds_.find(prefix);
  return found != feeds_.end() && found->second.floor <= since && since <= found->second.last;
}

const std::string* PrefixFeeds::next(Bytes prefix, uint64_t& since) const {
  const auto found = feeds_.find(prefix);
  if (found == feeds_.end()) return nullptr;
  const auto change = found->second.changes.upper_bound(since);
  if (change == found->second.changes.end()) return nullptr;
  since = change->first;
  return &change->second;
}

void PrefixFeeds::note(Feed& feed, Bytes key) {
  feed.last = ++position_;
  if (const auto known = feed.at.find(key); known != feed.at.end()) {
    auto change = feed.changes.extract(known->second);
    change.key() = known->second = feed.last;
    feed.changes.insert(feed.changes.end(), std::move(change));
    return;
  }
  const auto made = feed.changes.emplace_hint(feed.changes.end(), feed.last, key);
  feed.at.emplace(made->second, feed.last);
  feed.bytes += bytes_of(key);
  bytes_ += bytes_of(key);
  while (feed.bytes > kBytesOfOneMax) forget_first(feed);
  // Whoever brings all beyond it has to look again.
  while (bytes_ > kBytesOfAllMax && !feed.changes.empty()) forget_first(feed);
}

void PrefixFeeds::forget_first(Feed& feed) {
  const auto first = feed.changes.begin();
  feed.floor = first->first;
  const size_t bytes = bytes_of(first->second);
  feed.bytes -= bytes;
  bytes_ -= bytes;
  feed.at.erase(first->second);
  feed.changes.erase(first);
}

void PrefixFeeds::end(Bytes prefix) {
  const auto found = feeds_.find(prefix);
  Feed& feed = found->second;
  bytes_ -= feed.bytes;
  used_.erase(feed.use);
  const auto length = lengths_.find(prefix.size());
  if (--length->second == 0) lengths_.erase(length);
  feeds_.erase(found);
}

}  // namespace rdzv
