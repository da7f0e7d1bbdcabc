// The native protocol's operations on versions and times to live.
#include <algorithm>

#include "base/text.h"
#include "server/native_protocol.h"

namespace rdzv {

using native::Header;

void NativeProtocol::try_get(const Header& header, const native::TryGetRequest& request) {
  answer_value(header, request.key);
}

void NativeProtocol::answer_value(const Header& header, Bytes key) {
  const Table::Value* value = context_.state.table().find(key);
  begin_sized_reply(header, kNoValueBytes + (value == nullptr ? 0 : value->bytes.size()));
  static const Table::Value kNothing;
  put_value(value == nullptr ? kNothing : *value);
  connection().reply_ready();
}

void NativeProtocol::watch(const Header& header, const native::WatchRequest& request) {
  context_.strings.assign(1, request.key);
  block(header, context_.strings, request.timeout_ms, Table::Need::kChange,
        static_cast<int64_t>(request.known_version));
}

native::SetIfVersionReply NativeProtocol::set_if_version(
    const native::SetIfVersionRequest& request) {
  Table::VersionSet result =
      context_.apply(change::SetIfVersion{request.key, request.value, request.version});
  return {result.swapped, result.version};
}

void NativeProtocol::set_for(const Header& header, const native::SetForRequest& request) {
  const std::string what = "set of key " + quoted(as_user_knows(request.key)) + ": ";
  if (request.ttl_ms == 0) {
    reply_error(header, ErrorCode::kInvalidArgument,
                what + "its time to live is 0 s; it must be more than 0");
    return;
  }
  if (request.ttl_ms > context_.limits.ttl_ms) {
    reply_error(header, ErrorCode::kLimit,
                what + "a time to live of " + std::to_string(request.ttl_ms / 1000) +
                    " s is longer than this server's limit ttl_ms, " +
                    seconds_text(std::chrono::milliseconds(context_.limits.ttl_ms)));
    return;
  }
  const change::SetFor set{request.key, request.value, std::chrono::milliseconds(request.ttl_ms)};
  reply(header, native::VersionReply{context_.apply(set)});
}

}  // namespace rdzv
