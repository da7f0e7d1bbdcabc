// The native protocol's operations on all keys of a prefix, in slices.
#include <utility>

#include "base/text.h"
#include "server/native_protocol.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;

class NativeProtocol::ListKeys final : public LongRequest {
 public:
  ListKeys(NativeProtocol& protocol, const Header& header, Bytes prefix)
      : protocol_(protocol),
        header_(header),
        list_(prefix, protocol.connection().memory().unsent) {}

  bool go_on(Budget& budget) override {
    bool is_whole = list_.go_on(protocol_.context_.state.view(), budget, native::put_string);
    if (!has_room_for_lists(protocol_.context_, protocol_.connection())) return true;
    if (!is_whole) return false;
    if (list_.is_too_large()) {
      protocol_.reply_error(header_, ErrorCode::kLimit,
                            "list_keys: the answer is too large; ask for a longer prefix");
      return true;
    }
    std::string keys = list_.take();
    if (!protocol_.connection().has_room(keys.size())) return true;
    protocol_.begin_sized_reply(header_, sizeof(uint32_t) + keys.size());
    native::put_u32(protocol_.out(), static_cast<uint32_t>(list_.count()));
    protocol_.connection().append(std::move(keys));
    protocol_.connection().reply_ready();
    return true;
  }

 private:
  NativeProtocol& protocol_;
  const Header header_;
  PrefixListing list_;
};

void NativeProtocol::list_keys(const Header& header, const native::ListKeysRequest& request) {
  long_request_ = std::make_unique<ListKeys>(*this, header, request.prefix);
}

// Erases the keys that were there when it came, and none that is written meanwhile.
class NativeProtocol::DeletePrefix final : public LongRequest {
 public:
  DeletePrefix(NativeProtocol& protocol, const Header& header, Bytes prefix)
      : protocol_(protocol),
        header_(header),
        walk_(prefix),
        version_(protocol.context_.state.table().version()) {}

  bool go_on(Budget& budget) override {
    constexpr size_t kAtOnce = 64;
    ServerContext& context = protocol_.context_;
    while (!walk_.done && !budget.is_spent()) {
      auto erased = context.apply(change::EraseWalked{walk_, kAtOnce, version_});
      context.wake();
      walk_ = std::move(erased.walk);
      count_ += erased.count;
      budget.spend(kAtOnce * Budget::kName + erased.count * Budget::kKeyGone);
    }
    if (!walk_.done) return false;
    protocol_.reply(header_, native::CountReply{count_});
    return true;
  }

 private:
  NativeProtocol& protocol_;
  const Header header_;
  Table::PrefixWalk walk_;
  const uint64_t version_;
  uint64_t count_ = 0;
};

void NativeProtocol::delete_prefix(const Header& header,
                                   const native::DeletePrefixRequest& request) {
  if (!request.prefix.starts_with('/')) {
    reply_error(header, ErrorCode::kInvalidArgument,
                "delete_prefix: " + quoted(request.prefix) +
                    " does not begin with the '/' of users' keys; others belong to the stores");
    return;
  }
  long_request_ = std::make_unique<DeletePrefix>(*this, header, request.prefix);
}

}  // namespace rdzv
