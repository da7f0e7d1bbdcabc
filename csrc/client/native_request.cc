#include "client/native_request.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace rdzv {
namespace {

// A server says how long it waited itself: since the request was sent again.
std::string with_time_waited(const std::string& message, Duration waited) {
  static constexpr Bytes kBefore = " timeout after ";
  const size_t found = message.find(kBefore);
  const size_t end = found == std::string::npos ? found : message.find(" s: ", found);
  if (end == std::string::npos) return message + "; waited " + seconds_text(waited) + " in all";
  const size_t begin = found + kBefore.size();
  return message.substr(0, begin) + seconds_text(waited) + message.substr(end + 2);
}

uint32_t milliseconds_up(Duration duration) {
  auto ms = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return static_cast<uint32_t>(std::min<int64_t>(ms, native::kNoTimeout));
}

}  // namespace

Missing NativeRequest::missing(const native::ErrorReply& answer) const {
  Missing missing;
  if (keys == nullptr && !key.empty()) missing.keys.emplace_back(key);
  if (!answer.missing) return missing;
  for (uint32_t number : *answer.missing) {
    if (names_ranks) missing.ranks.push_back(number);
    if (keys != nullptr && number < keys->size()) missing.keys.emplace_back((*keys)[number]);
  }
  return missing;
}

void NativeRequest::begin_attempt(const CallTimes& times) {
  ++attempts;
  if (!is_timed) return;
  const uint32_t time_for_server = !server_may_wait      ? 0
                                   : timeout >= kForever ? native::kNoTimeout
                                                         : milliseconds_up(times.deadline.left());
  native::set_timeout(body, time_for_server);
}

void NativeRequest::throw_error_reply(const ClientCore::Reply& reply, const CallTimes& times,
                                      const std::string& store) {
  answered = true;
  native::ErrorReply answer;
  if (!native::take(reply.body, answer)) answer = {};
  std::string message(answer.message);
  Missing named;
  if (reply.status == ErrorCode::kTimeout) {
    if (attempts > 1) message = with_time_waited(message, times.deadline.elapsed());
    named = missing(answer);
  }
  throw Error(reply.status, message + " (" + store + ")", std::move(named));
}

void NativeRequest::throw_unless_repeatable(const ClientCore::Reply& reply, const CallTimes& times,
                                            const std::string& store, const std::string& broken) {
  if (reply.outcome == ClientCore::Outcome::kAnswered) throw_error_reply(reply, times, store);
  if (reply.outcome == ClientCore::Outcome::kTimedOut) {
    throw_no_answer(describe(store), std::min(timeout, times.deadline.elapsed()), is_write,
                    reply.sent);
  }
  if (is_write && reply.sent) {
    throw Error(ErrorCode::kConnection,
                describe(store) + ": the connection was lost (" + broken + ")" + kUnknownOutcome);
  }
}

void NativeRequest::throw_unreadable(const std::string& store) const {
  throw Error(ErrorCode::kProtocol, describe(store) + ": the server's answer is malformed");
}

}  // namespace rdzv
