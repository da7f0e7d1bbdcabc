// What the native protocol's operations on values and queues do.
#include <optional>

#include "base/text.h"
#include "server/native_channel.h"
#include "store/store.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;

native::Nothing NativeChannel::ping(const native::PingRequest&) {
  return {};
}

native::VersionReply NativeChannel::set(const native::SetRequest& request) {
  return {context_.apply(change::Set{request.key, request.value})};
}

void NativeChannel::append(const Header& header, const native::AppendRequest& request) {
  const Table::Value* before = context_.state.table().find(request.key);
  size_t size = (before == nullptr ? 0 : before->bytes.size()) + request.value.size();
  if (size > context_.limits.value_bytes) {
    reply_error(header, ErrorCode::kLimit,
                "append: the value of key " + quoted(as_user_knows(request.key)) + " would have " +
                    std::to_string(size) + " bytes; the limit is " +
                    std::to_string(context_.limits.value_bytes));
    return;
  }
  reply(header, native::VersionReply{context_.apply(change::Append{request.key, request.value})});
}

native::CompareSetReply NativeChannel::compare_set(const native::CompareSetRequest& request) {
  Table::CompareSet result =
      context_.apply(change::CompareSet{request.key, request.expected, request.desired});
  if (result.current == nullptr) return {result.swapped, false, 0, {}};
  // The caller knows what it has set itself.
  return {result.swapped, true, result.current->version,
          result.swapped ? Bytes() : Bytes(result.current->bytes)};
}

void NativeChannel::add(const Header& header, const native::AddRequest& request) {
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

native::Nothing NativeChannel::queue_push(const native::QueuePushRequest& request) {
  context_.apply(change::Push{request.key, request.item});
  return {};
}

void NativeChannel::queue_pop(const Header& header, const native::QueuePopRequest& request) {
  if (std::optional<std::string> item = context_.apply(change::Pop{request.key})) {
    reply(header, native::QueuePopReply{*item});
    return;
  }
  context_.strings.assign(1, request.key);
  block(header, context_.strings, request.timeout_ms, Table::Need::kItem);
}

native::CountReply NativeChannel::queue_len(const native::QueueLenRequest& request) {
  return {context_.state.table().queue_size(request.key)};
}

native::DeleteKeyReply NativeChannel::delete_key(const native::DeleteKeyRequest& request) {
  return {context_.apply(change::Erase{request.key})};
}

void NativeChannel::multi_set(const Header& header, const native::MultiSetRequest&) {
  const size_t keys = context_.strings.size() / 2;
  if (std::optional<std::string> refusal = context_.refuse_multi_set(context_.strings))
    return reply_error(header, ErrorCode::kLimit, *refusal);
  context_.apply(change::MultiSet{context_.strings});
  context_.budget.spend(keys * (Budget::kKey + Budget::kKeySet));
  reply(header, native::Nothing());
}

native::CountReply NativeChannel::num_keys(const native::NumKeysRequest&) {
  return {context_.state.table().size()};
}

void NativeChannel::check(const Header& header, const native::CheckRequest&,
                          const SharedKeys& shared) {
  if (shared != nullptr) return serve_list(header, shared, 0);
  reply(header, native::CheckReply{context_.state.table().has_all(context_.strings)});
}

void NativeChannel::get(const Header& header, const native::GetRequest& request) {
  context_.strings.assign(1, request.key);
  block(header, context_.strings, request.timeout_ms, Table::Need::kValue);
}

void NativeChannel::wait(const Header& header, const native::WaitRequest& request,
                         const SharedKeys& shared) {
  block(header, request.timeout_ms, shared);
}

void NativeChannel::multi_get(const Header& header, const native::MultiGetRequest& request,
                              const SharedKeys& shared) {
  block(header, request.timeout_ms, shared);
}

void NativeChannel::spaces(const Header& header, const native::SpacesRequest& request) {
  native::SpacesReply answer;
  const auto tell = [&](ServerContext& each) {
    const ServerContext::Census census = each.census();
    answer.spaces.push_back({each.space, census.keys, census.stored_bytes, census.connections,
                             census.runs, census.run_bytes, census.waits});
    context_.budget.spend(Budget::kKey);
  };
  if (request.every && connection_.role() == tls::Role::kAdmin) {
    context_.commons.records.audit.done_by_admin(connection_, "spaces");
    context_.commons.spaces.for_each(tell);
  } else {
    tell(context_);
  }
  const ServerLimits here = context_.own_limits.in(context_.limits);
  for (const ServerLimits::Field& field : ServerLimits::fields())
    answer.limits.push_back({Bytes(field.name), here.*field.value});
  reply(header, answer);
}

void NativeChannel::block(const Header& header, uint32_t timeout_ms, const SharedKeys& shared) {
  if (shared != nullptr) {
    serve_list(header, shared, timeout_ms);
  } else {
    block(header, context_.strings, timeout_ms, need_of(header));
  }
}

}  // namespace rdzv
