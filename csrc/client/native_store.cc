#include "client/native_store.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "client/native_request.h"
#include "client/patience.h"

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

Missing NativeStore::Request::missing(const native::ErrorReply& answer) const {
  Missing missing;
  if (keys == nullptr && !key.empty()) missing.keys.emplace_back(key);
  if (!answer.missing) return missing;
  for (uint32_t number : *answer.missing) {
    if (names_ranks) missing.ranks.push_back(number);
    if (keys != nullptr && number < keys->size()) missing.keys.emplace_back((*keys)[number]);
  }
  return missing;
}

NativeStore::NativeStore(const Place& server_at, Duration timeout)
    : TCPStore(Protocol::kNative, server_at, timeout),
      line_(host_to_connect(), port(), TCPStore::describe()) {}

void NativeStore::connect(const Deadline& deadline) {
  NativeLine::Known known;
  line_.channel(deadline.timeout() > Duration::zero() ? deadline : Deadline::after(kAnswerGrace),
                known);
}

std::string NativeStore::observed_address() {
  return line_.observed_address();
}

bool NativeStore::is_of_one_job() {
  return line_.is_of_one_job();
}

uint32_t NativeStore::time_for_server(const Request& request, const Deadline& deadline) {
  if (!request.server_may_wait) return 0;
  return request.timeout >= kForever ? native::kNoTimeout : milliseconds_up(deadline.left());
}

TakenBytes NativeStore::run_taking(Request& request) {
  check_process();
  const Times times(request.timeout, request.is_timed);
  NativeLine::Known known;
  for (int attempt = 1;; ++attempt) {
    std::shared_ptr<Channel> channel = line_.channel(times.reconnect, known);
    Channel::Reply reply;
    reply.outcome = Channel::Outcome::kTimedOut;
    reply.sent = false;
    if (channel != nullptr) {
      if (request.is_timed)
        native::set_timeout(request.body, time_for_server(request, times.deadline));
      reply = ask(request, channel, times.patient);
    }
    if (reply.outcome == Channel::Outcome::kAnswered) {
      if (reply.status == ErrorCode::kOk) return {std::move(reply.body), reply.body_begin};
      request.answered = true;
      native::ErrorReply answer;
      if (!native::take(reply.body, answer)) answer = {};
      std::string message(answer.message);
      if (attempt > 1 && reply.status == ErrorCode::kTimeout)
        message = with_time_waited(message, times.deadline.elapsed());
      Missing missing;
      if (reply.status == ErrorCode::kTimeout) missing = request.missing(answer);
      throw Error(reply.status, message + " (" + describe() + ")", std::move(missing));
    }
    throw_unless_repeatable(request, reply, channel.get(), times.deadline.elapsed());
  }
}

// Who waits for others hears nothing for as long as they take; all else is answered at once.
Channel::Reply NativeStore::ask(const Request& request, const std::shared_ptr<Channel>& channel,
                                const Deadline& patient) {
  const Instant begin = now();
  Channel::Reply reply = channel->call({request.operation, request.body, request.is_timed}, patient,
                                       [this, &channel] { line_.suspect(channel, kSilenceMax); });
  if (reply.outcome == Channel::Outcome::kTimedOut &&
      (request.is_sign_of_life || !channel->alive_since(begin)))
    line_.suspect(channel, now() - begin);
  return reply;
}

// A request that failed on a broken connection is sent again if that cannot apply it twice.
void NativeStore::throw_unless_repeatable(const Request& request, const Channel::Reply& reply,
                                          Channel* channel, Duration waited) const {
  if (reply.outcome == Channel::Outcome::kTimedOut) {
    throw_no_answer(request.describe(*this), std::min(request.timeout, waited), request.is_write,
                    reply.sent);
  }
  if (request.is_write && reply.sent) {
    throw Error(ErrorCode::kConnection, request.describe(*this) + ": the connection was lost (" +
                                            channel->broken_text() + ")" + kUnknownOutcome);
  }
}

}  // namespace rdzv
