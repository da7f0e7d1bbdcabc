#include "server/native_run.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "server/members_page.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;
using native::Operation;

namespace {

// Of the request that had this tag.
Header header_of(uint64_t tag, Operation operation) {
  Header header;
  header.operation = static_cast<uint8_t>(operation);
  header.channel = static_cast<uint16_t>(tag >> kIdBits);
  header.id = tag & ((uint64_t{1} << kIdBits) - 1);
  return header;
}

}  // namespace

class NativeRuns::ListMembers final : public LongRequest {
 public:
  ListMembers(NativeSession& session, const Runs& runs, const Header& header, MembersPage page)
      : session_(session), runs_(runs), header_(header), page_(std::move(page)) {}

  bool go_on(Budget& budget) override {
    if (!page_.go_on(runs_, budget)) return false;
    const size_t begin = session_.begin_reply(header_);
    native::put_members_reply(session_.out(), page_.reply());
    session_.end_reply(begin);
    return true;
  }

 private:
  NativeSession& session_;
  const Runs& runs_;
  const Header header_;
  MembersPage page_;
};

bool NativeSession::handle_run(const native::Frame& frame) {
  if (frame.header.operation < static_cast<uint8_t>(Operation::kJoin)) return false;
  if (runs_ == nullptr) runs_ = std::make_unique<NativeRuns>(*this, context_);
  return runs_->handle(frame);
}

bool NativeRuns::handle(const native::Frame& frame) {
  switch (static_cast<Operation>(frame.header.operation)) {
    case Operation::kJoin:
      return join(frame);
    case Operation::kLeave:
      return leave(frame);
    case Operation::kKeepAlive:
      return keep_alive(frame);
    case Operation::kCloseRun:
      return close_run(frame);
    case Operation::kStatus:
      return status(frame);
    case Operation::kSubscribe:
      return subscribe(frame);
    case Operation::kMembers:
      return members(frame);
    case Operation::kResume:
      return resume(frame);
    default:
      return false;
  }
}

void NativeRuns::cancel(const Header& target) {
  context_.runs.cancel(*this, tag_of(target));
}

void NativeRuns::on_closed() {
  context_.runs.on_closed(*this);
}

MemoryAccount& NativeRuns::parked() {
  return session_.connection().memory().parked;
}

void NativeRuns::on_joined(uint64_t tag, const native::JoinReply& body) {
  reply(header_of(tag, Operation::kJoin), native::put_join_reply, body);
}

void NativeRuns::on_join_failed(uint64_t tag, ErrorCode code, const std::string& message) {
  session_.reply_error(header_of(tag, Operation::kJoin), code, message);
}

void NativeRuns::on_changes(uint64_t tag, const native::SubscribeReply& body) {
  reply(header_of(tag, Operation::kSubscribe), native::put_subscribe_reply, body);
}

bool NativeRuns::join(const native::Frame& frame) {
  native::JoinRequest request;
  if (!native::take_join(frame.body, request)) return false;
  if (!may_wait(frame.header)) return true;
  charged(request.run_id, [&] {
    answer_errors_of(frame.header,
                     [&] { context_.runs.join(*this, tag_of(frame.header), request); });
  });
  return true;
}

bool NativeRuns::leave(const native::Frame& frame) {
  native::LeaveRequest request;
  if (!native::take_leave(frame.body, request)) return false;
  charged(request.run_id,
          [&] { reply(frame.header, native::put_leave_reply, context_.runs.leave(request)); });
  return true;
}

bool NativeRuns::keep_alive(const native::Frame& frame) {
  native::KeepAliveRequest request;
  if (!native::take_keep_alive(frame.body, request)) return false;
  reply(frame.header, native::put_keep_alive_reply,
        context_.runs.keep_alive(*this, request.handle));
  return true;
}

bool NativeRuns::close_run(const native::Frame& frame) {
  native::CloseRunRequest request;
  if (!native::take_close_run(frame.body, request)) return false;
  answer_errors_of(frame.header, [&] {
    context_.runs.close(request);
    session_.end_reply(session_.begin_reply(frame.header));
  });
  return true;
}

bool NativeRuns::status(const native::Frame& frame) {
  native::StatusRequest request;
  if (!native::take_status(frame.body, request)) return false;
  reply(frame.header, native::put_status_reply, context_.runs.status(request));
  return true;
}

bool NativeRuns::subscribe(const native::Frame& frame) {
  native::SubscribeRequest request;
  if (!native::take_subscribe(frame.body, request)) return false;
  if (!may_wait(frame.header)) return true;
  answer_errors_of(frame.header,
                   [&] { context_.runs.subscribe(*this, tag_of(frame.header), request); });
  return true;
}

bool NativeRuns::members(const native::Frame& frame) {
  native::MembersRequest request;
  if (!native::take_members(frame.body, request)) return false;
  std::optional<MembersPage> page = MembersPage::begin(request);
  if (!page) {
    session_.reply_error(frame.header, ErrorCode::kInvalidArgument,
                         "members: the cursor is none of this list's; begin without one");
    return true;
  }
  session_.long_request_ =
      std::make_unique<ListMembers>(session_, context_.runs, frame.header, std::move(*page));
  return true;
}

bool NativeRuns::resume(const native::Frame& frame) {
  native::ResumeRequest request;
  if (!native::take_resume(frame.body, request)) return false;
  charged(request.run_id, [&] {
    answer_errors_of(frame.header, [&] {
      reply(frame.header, native::put_resume_reply, context_.runs.resume(*this, request));
    });
  });
  return true;
}

bool NativeRuns::may_wait(const Header& header) {
  if (has_wait(tag_of(header))) {
    session_.reply_error(header, ErrorCode::kProtocol, "a request with this id is still blocked");
    return false;
  }
  if (session_.waits() >= context_.limits.waits_per_connection) {
    session_.reply_error(header, ErrorCode::kLimit, session_.waits_text());
    return false;
  }
  // It has what it takes when it is made; how little that is, is bounded.
  if (std::optional<std::string> refusal = refuse_parked(context_, session_.connection())) {
    session_.reply_error(header, ErrorCode::kLimit, *refusal);
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
    nodes = std::max(nodes, state.roster.all().size());
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
    session_.reply_error(header, error.code(), error.message());
  }
}

template <typename Put, typename Reply>
void NativeRuns::reply(const Header& header, Put put, const Reply& body) {
  const size_t begin = session_.begin_reply(header);
  put(session_.out(), body);
  session_.end_reply(begin);
}

}  // namespace rdzv
