#include "store/prefix_feeds.h"

namespace rdzv {
namespace {

constexpr size_t kChangeBytes = 192;  // beside its key
constexpr size_t kFeedBytes = 384;    // beside its prefix

size_t bytes_of(Bytes key) {
  return kChangeBytes + key.size();
}

}  // namespace

bool PrefixFeeds::keep(Bytes prefix, const std::function<bool(Bytes)>& is_awaited) {
  if (const auto found = feeds_.find(prefix); found != feeds_.end()) {
    used_.splice(used_.end(), used_, found->second.use);
    return true;
  }
  if (is_full(prefix)) return false;
  // Those that have no key with it, or not too many, would go in vain.
  while (Entry* deepest = deepest_with(prefix)) {
    if (deepest->second.depth < kDepthMax) break;
    Entry* const oldest = oldest_of(*deepest, is_awaited);
    if (oldest == nullptr) return false;
    end(*oldest);
  }
  for (auto at = used_.begin(); feeds_.size() >= kPrefixesMax && at != used_.end();) {
    Entry& oldest = **at++;
    ++visited_;
    if (!is_awaited(oldest.first)) end(oldest);
  }
  if (feeds_.size() >= kPrefixesMax) return false;
  Entry* parent = parent_of(prefix);
  Entry& made = *feeds_.try_emplace(std::string(prefix)).first;
  Feed& feed = made.second;
  add_bytes(feed, kFeedBytes + prefix.size());
  feed.begin = feed.last = ++position_;
  feed.parent = parent;
  feed.depth = parent == nullptr ? 1 : parent->second.depth + 1;
  feed.use = used_.insert(used_.end(), &made);
  for_each_below(made.first, [&](Entry& below) {
    ++below.second.depth;
    if (below.second.parent == parent) below.second.parent = &made;
  });
  return true;
}

bool PrefixFeeds::is_full(Bytes prefix) const {
  return all_ != nullptr && all_->used() + kFeedBytes + prefix.size() > all_bytes_max_;
}

void PrefixFeeds::end_idle(const std::function<bool(Bytes)>& is_awaited) {
  constexpr int kLooks = 4;
  auto at = used_.begin();
  for (int looks = 0; looks < kLooks && at != used_.end(); ++looks) {
    Entry& entry = **at++;
    ++visited_;
    if (!is_awaited(entry.first)) end(entry);
  }
}

bool PrefixFeeds::is_too_large(const Feed& feed) const {
  return feed.bytes > kBytesOfOneMax || bytes_ > kBytesOfAllMax ||
         (all_ != nullptr && all_->used() > all_bytes_max_);
}

void PrefixFeeds::add_bytes(Feed& feed, size_t bytes) {
  feed.bytes += bytes;
  bytes_ += bytes;
  charge_.resize(bytes_);
}

PrefixFeeds::Entry* PrefixFeeds::parent_of(Bytes prefix) {
  Entry* entry = last_before(prefix);
  while (entry != nullptr && !prefix.starts_with(entry->first)) entry = entry->second.parent;
  return entry;
}

PrefixFeeds::Entry* PrefixFeeds::deepest_with(Bytes prefix) {
  Entry* deepest = parent_of(prefix);
  for_each_below(prefix, [&](Entry& below) {
    if (deepest == nullptr || below.second.depth > deepest->second.depth) deepest = &below;
  });
  return deepest;
}

PrefixFeeds::Entry* PrefixFeeds::oldest_of(Entry& deepest,
                                           const std::function<bool(Bytes)>& is_awaited) {
  for (Entry* entry : used_) {
    ++visited_;
    const Entry* at = &deepest;
    while (at != nullptr && at != entry) at = at->second.parent;
    if (at != nullptr && !is_awaited(entry->first)) return entry;
  }
  return nullptr;
}

template <typename Visit>
void PrefixFeeds::for_each_below(Bytes prefix, Visit&& visit) {
  for (auto at = feeds_.upper_bound(prefix); at != feeds_.end(); ++at) {
    if (!Bytes(at->first).starts_with(prefix)) return;
    ++visited_;
    visit(*at);
  }
}

uint64_t PrefixFeeds::position(Bytes prefix) const {
  const auto found = feeds_.find(prefix);
  return found == feeds_.end() ? 0 : found->second.last;
}

bool PrefixFeeds::knows(Bytes prefix, uint64_t since) const {
  const auto found = feeds_.find(prefix);
  return found != feeds_.end() && found->second.begin <= since && since <= found->second.last;
}

const std::string* PrefixFeeds::next(Bytes prefix, uint64_t& since) const {
  const auto found = feeds_.find(prefix);
  if (found == feeds_.end()) return nullptr;
  const auto change = found->second.changes.upper_bound(since);
  if (change == found->second.changes.end()) return nullptr;
  since = change->first;
  return &change->second;
}

// False: it is too large now.
bool PrefixFeeds::note(Feed& feed, Bytes key) {
  ++noted_;
  feed.last = ++position_;
  if (const auto known = feed.at.find(key); known != feed.at.end()) {
    auto change = feed.changes.extract(known->second);
    change.key() = known->second = feed.last;
    feed.changes.insert(feed.changes.end(), std::move(change));
    return true;
  }
  const auto made = feed.changes.emplace_hint(feed.changes.end(), feed.last, key);
  feed.at.emplace(made->second, feed.last);
  add_bytes(feed, bytes_of(key));
  return !is_too_large(feed);
}

// Those of a key. Who goes on writing there pays for them no more.
void PrefixFeeds::end_too_large(Bytes key) {
  for (Entry* entry = last_before(key); entry != nullptr;) {
    Entry* const above = entry->second.parent;
    if (is_too_large(entry->second) && key.starts_with(entry->first)) end(*entry);
    entry = above;
  }
}

void PrefixFeeds::end(Entry& entry) {
  for_each_below(entry.first, [&](Entry& below) {
    --below.second.depth;
    if (below.second.parent == &entry) below.second.parent = entry.second.parent;
  });
  bytes_ -= entry.second.bytes;
  charge_.resize(bytes_);
  used_.erase(entry.second.use);
  gone_.insert(feeds_.extract(feeds_.find(entry.first)));
}

size_t PrefixFeeds::clear_gone(size_t max) {
  size_t cleared = 0;
  for (; !gone_.empty() && cleared < max; ++cleared) {
    Feed& feed = gone_.begin()->second;
    if (!feed.at.empty()) {
      feed.at.erase(feed.at.begin());  // before the keys that it refers to
    } else if (!feed.changes.empty()) {
      feed.changes.erase(feed.changes.begin());
    } else {
      gone_.erase(gone_.begin());
    }
  }
  return cleared;
}

}  // namespace rdzv
