#include "client/run_client.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"
#include "wire/limits.h"

namespace rdzv {

namespace operations = run_operations;

RunClient::RunClient(const TCPStore& store, std::string run_id, Node node,
                     native::RunSettings settings, Duration grace, RunFacts facts)
    : link_(store.native_sibling()),
      part_(std::move(run_id), std::move(node), settings, grace, std::move(facts)) {}

RunClient::Joined RunClient::join(uint64_t after_round, Duration timeout, bool is_spare) {
  NativeOperation join = operations::join(part_, after_round, timeout, is_spare);
  try {
    return link_->run_for<Joined>(join);
  } catch (const Error& error) {
    if (!operations::join_timed_out(join.request, error)) throw;
    Joined joined;
    joined.timed_out = true;
    return joined;
  }
}

bool RunClient::leave(bool failed, Duration timeout) {
  return link_->run_for<RunLeft>(operations::leave(part_, failed, timeout)).was_listed;
}

std::string RunClient::give_up(const Ending& ending, Duration timeout) {
  return link_->run_for<RunLeft>(operations::give_up(part_, ending, timeout)).cause;
}

native::KeepAliveReply RunClient::keep_alive(Duration timeout) {
  return link_->run_for<native::KeepAliveReply>(operations::keep_alive(part_, timeout));
}

void RunClient::close_run(Bytes reason, bool do_not_restart, Duration timeout) {
  link_->run(operations::close_run(part_, reason, do_not_restart, timeout));
}

RunClient::Status RunClient::status(Duration timeout) {
  return link_->run_for<Status>(operations::status(part_, timeout));
}

native::SubscribeReply RunClient::subscribe(uint64_t round, uint32_t known_changes,
                                            bool known_closed, Duration timeout) {
  return link_->run_for<native::SubscribeReply>(
      operations::subscribe(part_, round, known_changes, known_closed, timeout));
}

RunFollowed RunClient::follow(uint64_t known_version, Duration timeout) {
  return link_->run_for<RunFollowed>(operations::follow(part_, known_version, timeout));
}

// Page by page: who joins or goes meanwhile may be missing.
std::vector<RunClient::Member> RunClient::members(native::MemberList which, size_t limit,
                                                  Duration timeout) {
  const Deadline deadline = Deadline::after(timeout);
  std::vector<Member> found;
  std::string cursor;
  do {
    const size_t page_max = std::min(limit - found.size(), limits::kMembersPerReplyMax);
    RunPage page = link_->run_for<RunPage>(operations::members(
        part_, which, cursor, static_cast<uint32_t>(page_max), deadline.left()));
    std::ranges::move(page.members, std::back_inserter(found));
    cursor = std::move(page.cursor);
  } while (!cursor.empty() && found.size() < limit);
  // The server lists the participants of a complete round by name, and its stand-ins among them.
  if (which == native::MemberList::kParticipants) {
    std::stable_sort(found.begin(), found.end(),
                     [](const Member& a, const Member& b) { return a.rank < b.rank; });
  }
  return found;
}

std::vector<std::string> RunClient::hosts(const std::vector<std::string>& addresses,
                                          Duration timeout) {
  return link_->run_for<std::vector<std::string>>(operations::hosts(part_, addresses, timeout));
}

RunTimeline RunClient::timeline(Bytes run_id, uint64_t from, Duration timeout) {
  const Deadline deadline = Deadline::after(timeout);
  RunTimeline found{true, {}, from, {}};
  for (;;) {
    RunTimeline page =
        link_->run_for<RunTimeline>(operations::timeline(part_, run_id, from, deadline.left()));
    found.known = page.known;
    found.now = page.now;
    found.next = page.next;
    if (page.events.empty()) return found;
    from = page.events.back().number + 1;
    std::ranges::move(page.events, std::back_inserter(found.events));
    if (from >= page.next) return found;
  }
}

native::ResumeReply RunClient::resume(const Place& place, Duration timeout) {
  return link_->run_for<native::ResumeReply>(operations::resume(part_, place, timeout));
}

}  // namespace rdzv
