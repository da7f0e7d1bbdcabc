#include "server/native_runs.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "server/members_page.h"

namespace rdzv {

using native::Header;
using native::Operation;

namespace {

// Of the request that had this tag.
Header header_of(uint64_t tag, Operation operation) {
  Header header;
  header.operation = static_cast<uint8_t>(operation);
  header.channel = static_cast<uint16_t>(tag >> native::kIdBits);
  header.id = tag & ((uint64_t{1} << native::kIdBits) - 1);
  return header;
}

}  // namespace

class NativeRuns::ListMembers final : public LongRequest {
 public:
  ListMembers(NativeChannel& channel, const ServerContext& context, const Header& header,
              MembersPage page)
      : channel_(channel), context_(context), header_(header), page_(std::move(page)) {}

  bool go_on(Budget& budget) override {
    if (!page_.go_on(context_.runs, context_.commons.clock.now, budget)) return false;
    channel_.reply(header_, page_.reply());
    return true;
  }

 private:
  NativeChannel& channel_;
  const ServerContext& context_;
  const Header header_;
  MembersPage page_;
};

void NativeRuns::cancel(const Header& target) {
  context_.runs.cancel(*this, tag_of(target));
}

bool NativeRuns::leave_all(Budget& budget) {
  return context_.runs.leave(*this, budget);
}

MemoryAccount& NativeRuns::parked() {
  return channel_.connection().memory().parked;
}

std::string NativeRuns::reached_at() const {
  return channel_.connection().reached_at();
}

void NativeRuns::on_joined(uint64_t tag, const native::JoinReply& body) {
  channel_.reply(header_of(tag, Operation::kJoin), body);
}

void NativeRuns::on_join_failed(uint64_t tag, ErrorCode code, const std::string& message) {
  channel_.reply_error(header_of(tag, Operation::kJoin), code, message);
}

void NativeRuns::on_changes(uint64_t tag, const native::SubscribeReply& body) {
  channel_.reply(header_of(tag, Operation::kSubscribe), body);
}

void NativeRuns::on_followed(uint64_t tag, const native::FollowReply& body) {
  channel_.reply(header_of(tag, Operation::kFollow), body);
}

void NativeRuns::join(const Header& header, const native::JoinRequest& request) {
  if (!may_wait(header)) return;
  charged(request.run_id, [&] {
    answer_errors_of(header, [&] { context_.runs.join(*this, tag_of(header), request); });
  });
}

void NativeRuns::leave(const Header& header, const native::LeaveRequest& request) {
  charged(request.run_id, [&] { channel_.reply(header, context_.runs.leave(request)); });
}

native::KeepAliveReply NativeRuns::keep_alive(const native::KeepAliveRequest& request) {
  return context_.runs.keep_alive(*this, request.handle);
}

void NativeRuns::close_run(const Header& header, const native::CloseRunRequest& request) {
  answer_errors_of(header, [&] {
    context_.runs.close(request);
    channel_.reply(header, native::Nothing());
  });
}

native::StatusReply NativeRuns::status(const native::StatusRequest& request) {
  return context_.runs.status(request);
}

void NativeRuns::subscribe(const Header& header, const native::SubscribeRequest& request) {
  if (!may_wait(header)) return;
  answer_errors_of(header, [&] { context_.runs.subscribe(*this, tag_of(header), request); });
}

void NativeRuns::follow(const Header& header, const native::FollowRequest& request) {
  if (!may_wait(header)) return;
  answer_errors_of(header, [&] { context_.runs.follow(*this, tag_of(header), request); });
}

void NativeRuns::members(const Header& header, const native::MembersRequest& request) {
  std::optional<MembersPage> page = MembersPage::begin(request);
  if (!page) {
    channel_.reply_error(header, ErrorCode::kInvalidArgument,
                         "members: the cursor does not belong to this list; start without one");
    return;
  }
  channel_.long_request_ =
      std::make_unique<ListMembers>(channel_, context_, header, std::move(*page));
}

void NativeRuns::resume(const Header& header, const native::ResumeRequest& request) {
  charged(request.run_id, [&] {
    answer_errors_of(header, [&] { channel_.reply(header, context_.runs.resume(*this, request)); });
  });
}

native::HostsReply NativeRuns::hosts(const native::HostsRequest& request) {
  native::HostsReply reply;
  reply.states.reserve(request.addresses.size());
  for (const native::HostsRequest::Item& item : request.addresses)
    reply.states.push_back({context_.hosts.state(item.address)});
  context_.budget.spend(request.addresses.size() * Budget::kName);
  return reply;
}

native::TimelineReply NativeRuns::timeline(const native::TimelineRequest& request) {
  const auto us = [](Duration duration) {
    return static_cast<uint64_t>(duration / std::chrono::microseconds(1));
  };
  native::TimelineReply reply;
  reply.now_us = us(context_.clock.now.time_since_epoch());
  // Who is in one name space of several learns nothing of the others.
  const tls::Identity* identity = channel_.connection().identity();
  const bool sees_all = identity == nullptr || identity->role == tls::Role::kAdmin;
  const Timeline* timeline = sees_all ? &context_.commons.records.warnings : &context_.warnings;
  if (!request.run_id.empty()) {
    const Run* run = std::as_const(context_.runs).find(request.run_id);
    if (run == nullptr) return reply;
    timeline = &run->timeline();
  }
  reply.known = true;
  reply.first = std::clamp(request.from, timeline->first(), timeline->next());
  reply.next = timeline->next();
  for (uint64_t number = reply.first;
       number < reply.next && reply.items.size() < limits::kEventsPerReplyMax; ++number) {
    const Event& event = timeline->at(number);
    native::TimelineReply::Item item{us(event.at.time_since_epoch()),
                                     event.kind,
                                     event.round,
                                     event.nodes,
                                     us(event.took),
                                     {},
                                     event.text};
    if (!event.node.addr.empty()) item.node = wire_node(event.node);
    reply.items.push_back(item);
  }
  context_.budget.spend(reply.items.size() * Budget::kName);
  return reply;
}

bool NativeRuns::may_wait(const Header& header) {
  if (ties().wait(tag_of(header)) != nullptr) {
    channel_.reply_error(header, ErrorCode::kProtocol, "a request with this id is still waiting");
    return false;
  }
  if (channel_.waits() >= context_.limits.waits_per_connection) {
    channel_.reply_error(header, ErrorCode::kLimit, channel_.waits_text());
    return false;
  }
  // It has what it takes when it is made; how little that is, is bounded.
  if (std::optional<std::string> refusal = refuse_parked(context_, channel_.connection(), 1)) {
    channel_.reply_error(header, ErrorCode::kLimit, *refusal);
    return false;
  }
  return true;
}

// A round that begins or ends is told to all its nodes.
template <typename Action>
void NativeRuns::charged(Bytes run_id, Action&& action) {
  const auto look = [&](size_t& nodes) {
    const Run* run = std::as_const(context_.runs).find(run_id);
    if (run == nullptr) return std::pair<uint64_t, bool>();
    const GroupState& state = run->group().state();
    nodes = std::max(nodes, state.roster.listed());
    return std::pair(state.round, state.complete);
  };
  size_t nodes = 0;
  const auto before = look(nodes);
  action();
  const auto after = look(nodes);
  context_.budget.spend(Budget::kNode + (before == after ? 0 : nodes * Budget::kPlace));
}

template <typename Action>
void NativeRuns::answer_errors_of(const Header& header, Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    channel_.reply_error(header, error.code(), error.message());
  }
}

}  // namespace rdzv
