// The native protocol's operations on all keys of a prefix, in slices.
#include <utility>

#include "base/text.h"
#include "server/native_channel.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;

namespace {

bool is_full(const ServerContext& context, Bytes prefix) {
  return context.memory.used() > context.limits.memory_bytes ||
         context.state.table().feeds().is_full(prefix);
}

// What nobody waits for goes, whoever has it; a few of each name space, so that it does not take long.
void make_room(ServerContext& context, Bytes prefix) {
  context.commons.spaces.for_each([&](ServerContext& each) {
    if (!is_full(context, prefix)) return;
    TableView& table = each.state.view();
    table.end_idle_feeds();
    each.upkeep.work_later();
    context.budget.spend((1 + table.take_visited_feeds()) * Budget::kKey);
  });
}

// Those that are looked at for a place for another one are at the cost of who asks for it.
bool keep_feed(ServerContext& context, Bytes prefix) {
  TableView& table = context.state.view();
  const bool is_there = table.feeds().position(prefix) != 0;
  if (!is_there && is_full(context, prefix)) make_room(context, prefix);
  if (!is_there && is_full(context, prefix)) return false;
  const bool is_kept = table.keep_feed(prefix);
  context.upkeep.work_later();
  context.budget.spend(table.take_visited_feeds() * Budget::kKey);
  return is_kept;
}

// Why not, if it is not.
std::string refusal_of_feed(const ServerContext& context, Bytes prefix) {
  if (is_full(context, prefix)) {
    return "watch_prefix: no room is left for what is remembered of watched prefixes; the server's "
           "limits are watch_bytes " +
           std::to_string(context.limits.watch_bytes) + " and memory_bytes " +
           std::to_string(context.limits.memory_bytes);
  }
  return "watch_prefix: " + std::to_string(context.state.table().feeds().prefixes()) +
         " prefixes are watched in this name space; the limits are " +
         std::to_string(PrefixFeeds::kPrefixesMax) + ", and " +
         std::to_string(PrefixFeeds::kDepthMax) +
         " for one key; watch a prefix that others watch already";
}

}  // namespace

class NativeChannel::ListKeys final : public LongRequest {
 public:
  ListKeys(NativeChannel& channel, const Header& header, Bytes prefix)
      : channel_(channel), header_(header), list_(prefix, channel.connection().memory().unsent) {}

  bool go_on(Budget& budget) override {
    bool is_whole = list_.go_on(channel_.context_.state.view(), budget, native::put_string);
    if (!has_room_for_lists(channel_.context_, channel_.connection())) return true;
    if (!is_whole) return false;
    if (list_.is_too_large()) {
      channel_.reply_error(header_, ErrorCode::kLimit,
                           "list_keys: the answer is too large; ask for a longer prefix");
      return true;
    }
    const AnswerBody keys = list_.take();
    if (!channel_.connection().has_room(keys.bytes())) return true;
    channel_.begin_sized_reply(header_, sizeof(uint32_t) + keys.bytes());
    native::put_u32(channel_.out(), static_cast<uint32_t>(list_.count()));
    channel_.send_body(keys);
    return true;
  }

 private:
  NativeChannel& channel_;
  const Header header_;
  PrefixListing list_;
};

void NativeChannel::list_keys(const Header& header, const native::ListKeysRequest& request) {
  long_request_ = std::make_unique<ListKeys>(*this, header, request.prefix);
}

// Erases the keys that were there when it came, and none that is written meanwhile.
class NativeChannel::DeletePrefix final : public LongRequest {
 public:
  DeletePrefix(NativeChannel& channel, const Header& header, Bytes prefix)
      : channel_(channel),
        header_(header),
        walk_(prefix),
        version_(channel.context_.state.table().version()) {}

  bool go_on(Budget& budget) override {
    constexpr size_t kAtOnce = 64;
    ServerContext& context = channel_.context_;
    while (!walk_.done && !budget.is_spent()) {
      auto erased = context.apply(change::EraseWalked{walk_, kAtOnce, version_});
      context.wake();
      walk_ = std::move(erased.walk);
      count_ += erased.count;
      budget.spend(kAtOnce * Budget::kName + erased.count * Budget::kKeyGone);
    }
    if (!walk_.done) return false;
    channel_.reply(header_, native::CountReply{count_});
    return true;
  }

 private:
  NativeChannel& channel_;
  const Header header_;
  Table::PrefixWalk walk_;
  const uint64_t version_;
  uint64_t count_ = 0;
};

void NativeChannel::delete_prefix(const Header& header,
                                  const native::DeletePrefixRequest& request) {
  if (!request.prefix.starts_with('/')) {
    reply_error(header, ErrorCode::kInvalidArgument,
                "delete_prefix: " + quoted(request.prefix) +
                    " must begin with '/', as users' keys do; other keys are internal");
    return;
  }
  long_request_ = std::make_unique<DeletePrefix>(*this, header, request.prefix);
}

// What a watcher of a prefix does not know: what has changed behind a position, or a part of a list
// of all that is there. Made in slices; what changes meanwhile comes behind the position that it
// names.
class NativeChannel::TellChanges final : public LongRequest {
 public:
  TellChanges(NativeChannel& channel, const Header& header, Bytes prefix, uint64_t position,
              Bytes cursor)
      : channel_(channel),
        header_(header),
        walk_(prefix),
        position_(position),
        charge_(&channel.connection().memory().unsent) {
    if (!feeds().knows(walk_.prefix, position_)) {
      begins_ = lists_ = true;
      // It may have become too large meanwhile. If it has no place: a position of 0 is asked for anew.
      keep_feed(channel.context_, walk_.prefix);
      position_ = feeds().position(walk_.prefix);
    } else if (!cursor.empty()) {
      lists_ = true;
      walk_.last.emplace(cursor);
    }
  }

  bool go_on(Budget& budget) override {
    while (!is_whole()) {
      if (budget.is_spent()) return false;
      const size_t before = body_.bytes();
      const size_t items = count_;
      if (lists_) {
        channel_.context_.state.view().walk(walk_, 1, [&](Bytes key) { put(key); });
      } else if (const std::string* key = feeds().next(walk_.prefix, position_)) {
        put(*key);
      }
      is_at_end_ = lists_ ? walk_.done : count_ == items;
      budget.spend(Budget::kKey + Budget::kName + (body_.bytes() - before) / Budget::kBytesAUnit);
      charge_.resize(body_.own_bytes());
      if (!has_room_for_lists(channel_.context_, channel_.connection())) return true;
    }
    charge_.resize(0);
    if (channel_.connection().has_room(body_.own_bytes())) reply();
    return true;
  }

 private:
  const PrefixFeeds& feeds() const { return channel_.context_.state.view().feeds(); }
  bool is_whole() const { return is_at_end_ || body_.bytes() >= limits::kWatchAnswerBytes; }

  void put(Bytes key) {
    ++count_;
    static const Table::Value kNothing;
    const Table::Value* found = channel_.context_.state.table().find(key);
    const Table::Value& value = found == nullptr ? kNothing : *found;
    native::put_string(body_.text(), key);
    native::put_u64(body_.text(), value.version);
    native::put_u32(body_.text(), static_cast<uint32_t>(value.bytes.size()));
    body_.add(value.bytes);
  }

  void reply() {
    body_.end();
    native::WatchPrefixReply reply;
    reply.position = position_;
    reply.begins = begins_;
    if (lists_ && !walk_.done) reply.cursor = *walk_.last;
    const size_t head_bytes = native::bytes_of(reply);  // with the count of no items
    channel_.begin_sized_reply(header_, head_bytes + body_.bytes());
    native::put(channel_.out(), reply);
    std::string& out = channel_.out();
    out.resize(out.size() - sizeof(uint32_t));
    native::put_u32(out, count_);
    channel_.send_body(body_);
  }

  NativeChannel& channel_;
  const Header header_;
  Table::PrefixWalk walk_;
  uint64_t position_;
  bool begins_ = false;
  bool lists_ = false;
  bool is_at_end_ = false;
  uint32_t count_ = 0;
  AnswerBody body_;
  Charge charge_;
};

void NativeChannel::watch_prefix(const Header& header, const native::WatchPrefixRequest& request) {
  const TableView& table = context_.state.view();
  if (!keep_feed(context_, request.prefix)) {
    reply_error(header, ErrorCode::kLimit, refusal_of_feed(context_, request.prefix));
    return;
  }
  const bool is_known = table.feeds().knows(request.prefix, request.position);
  if (is_known && request.cursor.empty() &&
      table.feeds().position(request.prefix) == request.position) {
    context_.strings.assign(1, request.prefix);
    block(header, context_.strings, request.timeout_ms, Table::Need::kUnder,
          static_cast<int64_t>(request.position));
    return;
  }
  long_request_ = std::make_unique<TellChanges>(*this, header, request.prefix, request.position,
                                                request.cursor);
}

void NativeChannel::tell_changes(const Blocked& blocked, Bytes prefix) {
  put_off(std::make_unique<TellChanges>(*this, blocked.header, prefix,
                                        static_cast<uint64_t>(blocked.target), Bytes()));
}

}  // namespace rdzv
