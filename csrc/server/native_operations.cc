// What each operation of the native protocol does, or where that is. The functions of single
// operations return false for a body that is not as the protocol says; nothing has happened then.
#include <optional>

#include "base/text.h"
#include "server/native_session.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;
using native::Operation;

namespace {

bool stores(const Header& header) {
  switch (static_cast<Operation>(header.operation)) {
    case Operation::kSet:
    case Operation::kAppend:
    case Operation::kCompareSet:
    case Operation::kAdd:
    case Operation::kMultiSet:
    case Operation::kQueuePush:
    case Operation::kBarrier:
    case Operation::kSetIfVersion:
    case Operation::kSetFor:
    case Operation::kExchange:
      return true;
    default:
      return false;
  }
}

}  // namespace

bool NativeSession::handle_write(const native::Frame& frame) {
  if (stores(frame.header) && context_.is_full(frame.body.size())) {
    reply_error(frame.header, ErrorCode::kLimit, context_.full_text());
    return true;
  }
  ByteReader body(frame.body);
  bool handled = false;
  switch (static_cast<Operation>(frame.header.operation)) {
    case Operation::kSet:
      handled = set(frame.header, body);
      break;
    case Operation::kAppend:
      handled = append(frame.header, body);
      break;
    case Operation::kCompareSet:
      handled = compare_set(frame.header, body);
      break;
    case Operation::kAdd:
      handled = add(frame.header, body);
      break;
    case Operation::kDeleteKey:
      handled = delete_key(frame.header, body);
      break;
    case Operation::kMultiSet:
      handled = multi_set(frame.header, body);
      break;
    case Operation::kQueuePush:
      handled = queue_push(frame.header, body);
      break;
    case Operation::kQueuePop:
      handled = queue_pop(frame.header, body);
      break;
    case Operation::kBarrier:
      handled = barrier(frame.header, body);
      break;
    case Operation::kSetIfVersion:
      handled = set_if_version(frame.header, body);
      break;
    case Operation::kSetFor:
      handled = set_for(frame.header, body);
      break;
    case Operation::kDeletePrefix:
      handled = delete_prefix(frame.header, body);
      break;
    case Operation::kExchange:
      handled = exchange(frame.header, body);
      break;
    default:
      return false;
  }
  context_.wake();
  return handled;
}

bool NativeSession::handle_read(const native::Frame& frame) {
  const Header& header = frame.header;
  ByteReader body(frame.body);
  switch (static_cast<Operation>(header.operation)) {
    case Operation::kPing:
      if (body.left() != 0) return false;
      end_reply(begin_reply(header));
      return true;
    case Operation::kNumKeys:
      if (body.left() != 0) return false;
      reply_u64(header, context_.table.size());
      return true;
    case Operation::kListKeys:
      return list_keys(header, body);
    case Operation::kCheck:
      return check(header, body);
    case Operation::kGet:
      return get(header, body);
    case Operation::kWait:
    case Operation::kMultiGet:
      return wait(header, body);
    case Operation::kTryGet:
      return try_get(header, body);
    case Operation::kWatch:
      return watch(header, body);
    case Operation::kQueueLen:
      return queue_len(header, body);
    case Operation::kCancel:
      return cancel(body);
    default:
      return false;
  }
}

bool NativeSession::take_strings(ByteReader& body, size_t strings_each) {
  if (!native::take_strings(body, strings_each, context_.strings)) return false;
  context_.budget.spend(context_.strings.size() / strings_each * Budget::kKey);
  return true;
}

bool NativeSession::set(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes value = native::take_string(body, limits::kValueBytesMax);
  if (!whole(body)) return false;
  reply_u64(header, context_.table.set(key, value));
  return true;
}

bool NativeSession::append(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes value = native::take_string(body, limits::kValueBytesMax);
  if (!whole(body)) return false;
  const Table::Value* before = context_.table.find(key);
  size_t size = (before == nullptr ? 0 : before->bytes.size()) + value.size();
  if (size > limits::kValueBytesMax) {
    reply_error(header, ErrorCode::kLimit,
                "append: the value of key " + quoted(as_user_knows(key)) + " would have " +
                    std::to_string(size) + " bytes; the limit is " +
                    std::to_string(limits::kValueBytesMax));
    return true;
  }
  reply_u64(header, context_.table.append(key, value));
  return true;
}

bool NativeSession::compare_set(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes expected = native::take_string(body, limits::kValueBytesMax);
  Bytes desired = native::take_string(body, limits::kValueBytesMax);
  if (!whole(body)) return false;
  Table::CompareSet result = context_.table.compare_set(key, expected, desired);
  size_t begin = begin_reply(header);
  native::put_u8(out(), result.swapped ? 1 : 0);
  native::put_u8(out(), result.current != nullptr ? 1 : 0);
  native::put_u64(out(), result.current != nullptr ? result.current->version : 0);
  // The caller knows what it has set itself.
  native::put_string(
      out(), result.swapped || result.current == nullptr ? Bytes() : Bytes(result.current->bytes));
  end_reply(begin);
  return true;
}

bool NativeSession::add(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  int64_t amount = body.i64();
  if (!whole(body)) return false;
  std::optional<Table::Add> result = add_or_refuse(header, key, amount);
  if (!result) return true;
  size_t begin = begin_reply(header);
  native::put_u64(out(), static_cast<uint64_t>(result->value));
  native::put_u64(out(), result->version);
  end_reply(begin);
  return true;
}

// None when the answer, an error, was given.
std::optional<Table::Add> NativeSession::add_or_refuse(const Header& header, Bytes key,
                                                       int64_t amount) {
  Table::Add result = context_.table.add(key, amount);
  if (result.status == Table::AddStatus::kOk) return result;
  bool overflow = result.status == Table::AddStatus::kOverflow;
  reply_error(
      header, ErrorCode::kNotANumber,
      not_a_number_text(as_user_knows(key), context_.table.find(key)->bytes, amount, overflow));
  return std::nullopt;
}

bool NativeSession::queue_push(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  Bytes item = native::take_string(body, limits::kValueBytesMax);
  if (!whole(body)) return false;
  context_.table.push(key, item);
  end_reply(begin_reply(header));
  return true;
}

bool NativeSession::queue_pop(const Header& header, ByteReader& body) {
  uint32_t timeout_ms = body.u32();
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  if (!whole(body)) return false;
  if (std::optional<std::string> item = context_.table.pop(key)) {
    answer_item(header, *item);
    return true;
  }
  context_.strings.assign(1, key);
  block(header, context_.strings, timeout_ms, Table::Need::kItem);
  return true;
}

bool NativeSession::queue_len(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  if (!whole(body)) return false;
  reply_u64(header, context_.table.queue_size(key));
  return true;
}

bool NativeSession::delete_key(const Header& header, ByteReader& body) {
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  if (!whole(body)) return false;
  size_t begin = begin_reply(header);
  native::put_u8(out(), context_.table.erase(key) ? 1 : 0);
  end_reply(begin);
  return true;
}

bool NativeSession::multi_set(const Header& header, ByteReader& body) {
  if (!take_strings(body, 2) || !whole(body)) return false;
  context_.table.multi_set(context_.strings);
  end_reply(begin_reply(header));
  return true;
}

bool NativeSession::check(const Header& header, ByteReader& body) {
  SharedKeys shared;
  if (!take_keys(body, shared)) return false;
  bool all =
      shared == nullptr
          ? context_.table.has_all(context_.strings)
          : context_.answers.missing(AnswerCache::Form::kNative, shared, Table::Need::kPresent)
                .at.empty();
  size_t begin = begin_reply(header);
  native::put_u8(out(), all ? 1 : 0);
  end_reply(begin);
  return true;
}

bool NativeSession::get(const Header& header, ByteReader& body) {
  uint32_t timeout_ms = body.u32();
  Bytes key = native::take_string(body, limits::kWireKeyBytesMax);
  if (!whole(body)) return false;
  context_.strings.assign(1, key);
  block(header, context_.strings, timeout_ms, Table::Need::kValue);
  return true;
}

bool NativeSession::wait(const Header& header, ByteReader& body) {
  uint32_t timeout_ms = body.u32();
  SharedKeys shared;
  if (!take_keys(body, shared)) return false;
  if (shared != nullptr) {
    block(header, shared, timeout_ms, need_of(header));
  } else {
    block(header, context_.strings, timeout_ms, need_of(header));
  }
  return true;
}

bool NativeSession::take_keys(ByteReader& body, SharedKeys& shared) {
  Bytes list = body.take(body.left());
  constexpr auto kForm = AnswerCache::Form::kNative;
  bool are_many = list.size() >= sizeof(uint32_t) &&
                  load_little_endian<uint32_t>(list.data()) >= AnswerCache::kKeysMin;
  if (are_many) shared = context_.answers.find(kForm, list);
  if (shared != nullptr) return true;
  ByteReader reader(list);
  if (!body.ok() || !take_strings(reader, 1) || !whole(reader)) return false;
  if (are_many) shared = context_.answers.remember(kForm, list, context_.strings);
  return true;
}

}  // namespace rdzv
