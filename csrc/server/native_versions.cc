// The native protocol's operations on versions and times to live. They return false for a
// body that is not as the protocol says; nothing has happened then.
#include <algorithm>

#include "base/text.h"
#include "server/native_session.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;

bool NativeSession::try_get(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  if (!whole(body)) return false;
  answer_value(header, key);
  return true;
}

void NativeSession::answer_value(const Header& header, Bytes key) {
  const Table::Value* value = context_.table.find(key);
  begin_sized_reply(header, kValueOverheadBytes + (value == nullptr ? 0 : value->bytes.size()));
  static const Table::Value kNothing;
  put_value(value == nullptr ? kNothing : *value);
  connection().reply_ready();
}

bool NativeSession::watch(const Header& header, ByteReader& body) {
  uint32_t timeout_ms = body.u32();
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  uint64_t known_version = body.u64();
  if (!whole(body)) return false;
  context_.strings.assign(1, key);
  block(header, context_.strings, timeout_ms, Table::Need::kChange,
        static_cast<int64_t>(known_version));
  return true;
}

bool NativeSession::set_if_version(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes value = native::take_string(body, limits::kValueBytesMax);
  uint64_t version = body.u64();
  if (!whole(body)) return false;
  Table::VersionSet result = context_.table.set_if_version(key, value, version);
  size_t begin = begin_reply(header);
  native::put_u8(out(), result.swapped ? 1 : 0);
  native::put_u64(out(), result.version);
  end_reply(begin);
  return true;
}

bool NativeSession::set_for(const Header& header, ByteReader& body) {
  uint64_t ttl_ms = body.u64();
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes value = native::take_string(body, limits::kValueBytesMax);
  if (!whole(body)) return false;
  if (ttl_ms == 0) {
    reply_error(header, ErrorCode::kInvalidArgument,
                "set of key " + quoted(as_user_knows(key)) +
                    ": its time to live is 0 s; it must be more than 0");
    return true;
  }
  if (ttl_ms > context_.limits.ttl_ms) {
    reply_error(header, ErrorCode::kLimit,
                "set of key " + quoted(as_user_knows(key)) + ": a time to live of " +
                    std::to_string(ttl_ms / 1000) +
                    " s is longer than this server's limit ttl_ms, " +
                    seconds_text(std::chrono::milliseconds(context_.limits.ttl_ms)));
    return true;
  }
  Duration ttl = std::chrono::milliseconds(ttl_ms);
  reply_u64(header, context_.table.set_for(key, value, context_.loop.awake_now() + ttl));
  return true;
}

}  // namespace rdzv
