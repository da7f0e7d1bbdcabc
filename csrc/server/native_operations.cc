// What the native protocol's operations on values and queues do.
#include <optional>

#include "base/text.h"
#include "server/native_protocol.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;

native::Nothing NativeProtocol::ping(const native::PingRequest&) {
  return {};
}

native::VersionReply NativeProtocol::set(const native::SetRequest& request) {
  return {context_.apply(change::Set{request.key, request.value})};
}

void NativeProtocol::append(const Header& header, const native::AppendRequest& request) {
  const Table::Value* before = context_.state.table().find(request.key);
  size_t size = (before == nullptr ? 0 : before->bytes.size()) + request.value.size();
  if (size > limits::kValueBytesMax) {
    reply_error(header, ErrorCode::kLimit,
                "append: the value of key " + quoted(as_user_knows(request.key)) + " would have " +
                    std::to_string(size) + " bytes; the limit is " +
                    std::to_string(limits::kValueBytesMax));
    return;
  }
  reply(header, native::VersionReply{context_.apply(change::Append{request.key, request.value})});
}

native::CompareSetReply NativeProtocol::compare_set(const native::CompareSetRequest& request) {
  Table::CompareSet result =
      context_.apply(change::CompareSet{request.key, request.expected, request.desired});
  if (result.current == nullptr) return {result.swapped, false, 0, {}};
  // The caller knows what it has set itself.
  return {result.swapped, true, result.current->version,
          result.swapped ? Bytes() : Bytes(result.current->bytes)};
}

void NativeProtocol::add(const Header& header, const native::AddRequest& request) {
  Table::Add result = context_.apply(change::Add{request.key, request.amount});
  if (result.status == Table::AddStatus::kOk) {
    reply(header, native::AddReply{result.value, result.version});
    return;
  }
  bool overflow = result.status == Table::AddStatus::kOverflow;
  reply_error(
      header, ErrorCode::kNotANumber,
      not_a_number_text(as_user_knows(request.key), context_.state.table().find(request.key)->bytes,
                        request.amount, overflow));
}

native::Nothing NativeProtocol::queue_push(const native::QueuePushRequest& request) {
  context_.apply(change::Push{request.key, request.item});
  return {};
}

void NativeProtocol::queue_pop(const Header& header, const native::QueuePopRequest& request) {
  if (std::optional<std::string> item = context_.apply(change::Pop{request.key})) {
    reply(header, native::QueuePopReply{*item});
    return;
  }
  context_.strings.assign(1, request.key);
  block(header, context_.strings, request.timeout_ms, Table::Need::kItem);
}

native::CountReply NativeProtocol::queue_len(const native::QueueLenRequest& request) {
  return {context_.state.table().queue_size(request.key)};
}

native::DeleteKeyReply NativeProtocol::delete_key(const native::DeleteKeyRequest& request) {
  return {context_.apply(change::Erase{request.key})};
}

native::Nothing NativeProtocol::multi_set(const native::MultiSetRequest&) {
  context_.apply(change::MultiSet{context_.strings});
  context_.budget.spend(context_.strings.size() / 2 * (Budget::kKey + Budget::kKeySet));
  return {};
}

native::CountReply NativeProtocol::num_keys(const native::NumKeysRequest&) {
  return {context_.state.table().size()};
}

void NativeProtocol::check(const Header& header, const native::CheckRequest&,
                           const SharedKeys& shared) {
  constexpr auto kForm = AnswerCache::Form::kNative;
  reply(header,
        native::CheckReply{shared == nullptr ? context_.state.table().has_all(context_.strings)
                                             : context_.composed.answers
                                                   .missing(kForm, shared, Table::Need::kPresent)
                                                   .at.empty()});
}

void NativeProtocol::get(const Header& header, const native::GetRequest& request) {
  context_.strings.assign(1, request.key);
  block(header, context_.strings, request.timeout_ms, Table::Need::kValue);
}

void NativeProtocol::wait(const Header& header, const native::WaitRequest& request,
                          const SharedKeys& shared) {
  block(header, request.timeout_ms, shared);
}

void NativeProtocol::multi_get(const Header& header, const native::MultiGetRequest& request,
                               const SharedKeys& shared) {
  block(header, request.timeout_ms, shared);
}

void NativeProtocol::block(const Header& header, uint32_t timeout_ms, const SharedKeys& shared) {
  if (shared != nullptr) {
    block(header, shared, timeout_ms, need_of(header));
  } else {
    block(header, context_.strings, timeout_ms, need_of(header));
  }
}

}  // namespace rdzv
