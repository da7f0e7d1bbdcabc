#include "client/native_store.h"

#include <algorithm>
#include <utility>

#include "client/patience.h"

namespace rdzv {
NativeStore::NativeStore(const Place& server_at, Duration timeout)
    : TCPStore(Protocol::kNative, server_at, timeout),
      line_(host_to_connect(), port(), TCPStore::describe(), server_at.keeper) {}

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

TakenBytes NativeStore::run_taking(NativeRequest& request) {
  check_process();
  const CallTimes times(request.timeout, request.is_timed);
  NativeLine::Known known;
  for (;;) {
    std::shared_ptr<Channel> channel = line_.channel(times.reconnect, known);
    Channel::Reply reply;
    reply.outcome = Channel::Outcome::kTimedOut;
    reply.sent = false;
    request.begin_attempt(times);
    if (channel != nullptr) reply = ask(request, channel, times.patient);
    if (NativeRequest::is_answer(reply)) return {std::move(reply.body), reply.body_begin};
    const bool is_broken = reply.outcome == Channel::Outcome::kBroken;
    request.throw_unless_repeatable(reply, times, describe(),
                                    is_broken ? channel->broken_text() : std::string());
  }
}

NativeResult NativeStore::run(NativeOperation& operation) {
  TakenBytes body = run_taking(operation.request);
  return operation.result_of(std::move(body), describe());
}

// Who waits for others hears nothing for as long as they take; all else is answered at once.
Channel::Reply NativeStore::ask(const NativeRequest& request,
                                const std::shared_ptr<Channel>& channel, const Deadline& patient) {
  const Instant begin = now();
  Channel::Reply reply = channel->call({request.operation, request.body, request.is_timed}, patient,
                                       [this, &channel] { line_.suspect(channel, kSilenceMax); });
  if (reply.outcome == Channel::Outcome::kTimedOut &&
      request.is_suspicious_unless(channel->alive_since(begin)))
    line_.suspect(channel, now() - begin);
  return reply;
}

}  // namespace rdzv
