#include "client/c10d_call.h"

#include <algorithm>
#include <charconv>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "client/patience.h"

namespace rdzv {

using c10d::Code;
using Outcome = C10dConnection::Outcome;

namespace {

// What a server has not answered by then it may hold back.
constexpr Duration kHeldBackMin = std::chrono::milliseconds(10);

}  // namespace

C10dStore::Conversation::Conversation(C10dStore& store, const Request& request,
                                      const Deadline& deadline, const Deadline& patient,
                                      std::unique_ptr<C10dConnection> connection)
    : store_(store),
      request_(request),
      deadline_(deadline),
      patient_(patient),
      connection_(std::move(connection)) {
  connection_->begin();
}

C10dStore::Conversation::~Conversation() {
  store_.give_back(std::move(connection_));
}

const c10d::Reply& C10dStore::Conversation::read(Code code, size_t keys) {
  c10d::ReplyDecoder decoder(code, keys);
  switch (receive(decoder)) {
    case Outcome::kDone:
      store_.note_answer();
      return reply_;
    case Outcome::kLost:
      throw Lost{connection_->lost_text()};
    case Outcome::kInvalid:
      throw Error(
          ErrorCode::kProtocol,
          request_.describe(store_) + ": the server's answer is malformed: " + decoder.error());
    case Outcome::kTimedOut:
      break;
  }
  store_.note_silence();
  throw_no_answer(request_.describe(store_), request_.timeout, request_.is_write, sent());
}

// torch's server without libuv tells its kernel that more comes behind the length of a value, and
// behind that of an empty value nothing comes: the kernel keeps it back, for 200 ms, unless another
// answer follows. So a PING brings it, behind all requests that are on their way.
Outcome C10dStore::Conversation::receive(c10d::ReplyDecoder& decoder) {
  const bool is_value = decoder.ends_with_value() && !echo_owed_;
  if (is_value) {
    if (!store_.holds_back_) {
      const Outcome outcome = receive_while_it_comes(decoder);
      if (outcome != Outcome::kTimedOut) return outcome;
    }
    if (decoder.awaits_length()) {
      put(Code::kPing, {});
      echo_owed_ = true;
    }
  }
  const bool draws_out = is_value && echo_owed_;
  if (echo_owed_ && connection_->owed() == 2) {
    decoder.expect_echo();
    echo_owed_ = false;
  }
  Outcome outcome;
  do {
    const Deadline quiet = Deadline::after(std::min(patient_.left(), kSilenceMax));
    connection_->shows_life();
    outcome = connection_->read(decoder, reply_, quiet);
    if (outcome == Outcome::kTimedOut && !patient_.passed() && is_cut_off()) {
      connection_->shut_down();
      throw Lost{"it received no data for " + seconds_text(kSilenceMax) +
                 ", and the server answers on a new connection"};
    }
  } while (outcome == Outcome::kTimedOut && !patient_.passed());
  if (draws_out && outcome == Outcome::kDone && reply_.strings.back().empty()) {
    store_.holds_back_ = true;
  }
  return outcome;
}

// Until no more has come for a moment.
Outcome C10dStore::Conversation::receive_while_it_comes(c10d::ReplyDecoder& decoder) {
  for (;;) {
    const size_t before = connection_->unread();
    const Deadline usual = Deadline::after(std::min(patient_.left(), kHeldBackMin));
    const Outcome outcome = connection_->read(decoder, reply_, usual);
    if (outcome != Outcome::kTimedOut || patient_.passed()) return outcome;
    if (connection_->unread() == before) return outcome;
  }
}

bool C10dStore::Conversation::is_cut_off() {
  auto is_over = [&] { return store_.closed_ || connection_->shows_life(); };
  if (is_over()) return false;
  try {
    store_.give_back(
        store_.dial_new(Deadline::after(std::min(patient_.left(), kSilenceMax)), is_over));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted) throw;
    return false;
  }
  // One that the server reads as well would have shown a byte by then.
  const Deadline sign = Deadline::after(std::min(patient_.left(), kSignOfLife));
  while (!sign.passed() && !is_over()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  throw_if_interrupted();
  return !is_over();
}

const c10d::Reply& C10dStore::Conversation::ask(Code code, const std::vector<Bytes>& strings,
                                                int64_t number) {
  put(code, strings, number);
  return read(code, strings.size());
}

void C10dStore::Conversation::acknowledge() {
  const uint32_t nonce = ++store_.last_nonce_;
  if (ask(Code::kPing, {}, nonce).number == nonce) return;
  connection_->shut_down();
  throw Error(ErrorCode::kProtocol,
              request_.describe(store_) + ": the server sent back another number");
}

bool C10dStore::Conversation::wait(Code code, const std::vector<Bytes>& wire_keys, int64_t number) {
  // A barrier counts even a caller that has no time to wait.
  if (deadline_.passed() && code != Code::kBarrier) return false;
  put(code, wire_keys, number);
  c10d::ReplyDecoder decoder(code);
  Outcome outcome = connection_->read(decoder, reply_, deadline_);
  if (outcome != Outcome::kTimedOut) {
    // A state is one byte, so there is no half of it: read() finds the same again.
    if (outcome == Outcome::kDone && reply_.number == c10d::kStopWaiting) return true;
    if (outcome == Outcome::kLost) throw Lost{connection_->lost_text()};
    connection_->shut_down();
    throw Error(ErrorCode::kProtocol,
                request_.describe(store_) + ": the server's answer is malformed");
  }
  // The server answers once for the cancellation, and before that for the wait if it was satisfied
  // meanwhile.
  put(Code::kCancelWait, {});
  if (read(code).number == c10d::kWaitCanceled) {
    connection_->forgive();
    return false;
  }
  if (read(Code::kCancelWait).number == c10d::kWaitCanceled) return true;
  connection_->shut_down();
  throw Error(ErrorCode::kProtocol,
              request_.describe(store_) + ": the server's answer to CANCEL_WAIT is malformed");
}

// GET answers a missing key and an empty value alike, and not every server survives it. An exchange
// that expects what nobody has set changes nothing: it answers with the value, or for a missing key
// with what was expected.
std::optional<std::string> C10dStore::Conversation::value_of(Bytes wire_key) {
  Bytes nobodys = store_.nobodys_value_;
  Bytes value = ask(Code::kCompareSet, {wire_key, nobodys, nobodys}).strings[0];
  if (value == nobodys) return std::nullopt;
  return std::string(value);
}

std::vector<Bytes> C10dStore::Conversation::missing_of(const std::vector<Bytes>& wire_keys) {
  for (Bytes key : wire_keys) put(Code::kCheck, {key});
  std::vector<Bytes> missing;
  for (Bytes key : wire_keys) {
    if (read(Code::kCheck).number != 0) missing.push_back(key);
  }
  return missing;
}

// MULTI_GET answers a missing key with nothing, or not at all, so it is asked only for keys that
// were there; what comes empty is looked at once more, and counts as missing unless it is empty.
std::vector<Bytes> C10dStore::Conversation::wait_for_values(const std::vector<Bytes>& wire_keys,
                                                            std::vector<TakenBytes>& values) {
  for (;; pause()) {
    std::vector<Bytes> missing;
    if (!wait(Code::kWait, wire_keys)) missing = missing_of(wire_keys);
    if (missing.empty()) {
      const c10d::Reply& reply = ask(Code::kMultiGet, wire_keys);
      values.clear();
      for (Bytes value : reply.strings) values.emplace_back(std::string(value));
      for (size_t i = 0; i < values.size(); ++i) {
        if (values[i].size() == 0 && value_of(wire_keys[i]) != "") missing.push_back(wire_keys[i]);
      }
    }
    if (missing.empty() || deadline_.passed()) return missing;
  }
}

// The slots of a first round come; those of later ones change, of which this protocol tells nobody.
std::vector<int64_t> C10dStore::Conversation::wait_for_ranks(const BarrierCall& call,
                                                             const ExchangeSlots& slots) {
  auto is_behind = [&](Bytes slot) { return round_in(slot) < call.round; };
  for (;; pause()) {
    std::vector<TakenBytes> rounds;
    if (wait_for_values(slots.all(), rounds).empty() &&
        std::none_of(rounds.begin(), rounds.end(), is_behind)) {
      return {};
    }
    if (deadline_.passed()) break;
  }
  std::vector<int64_t> missing;
  Bytes nobodys = store_.nobodys_value_;  // is no round
  for (Bytes slot : slots.all()) put(Code::kCompareSet, {slot, nobodys, nobodys});
  for (int64_t rank = 0; rank < call.world_size; ++rank) {
    if (is_behind(read(Code::kCompareSet).strings[0])) missing.push_back(rank);
  }
  return missing;
}

void C10dStore::Conversation::pause() {
  constexpr Duration kLongest = std::chrono::milliseconds(20);
  std::this_thread::sleep_for(std::min(next_pause_, deadline_.left()));
  next_pause_ = std::min(2 * next_pause_ + std::chrono::milliseconds(1), kLongest);
  throw_if_interrupted();
}

void C10dStore::Conversation::throw_timeout(const std::string& text, Missing missing) const {
  throw Error(ErrorCode::kTimeout, text + " (" + store_.describe() + ")", std::move(missing));
}

// COMPARE_SET answers what is there afterwards.
MeetingFound C10dStore::Conversation::look_at_meeting(const std::string& wire_key,
                                                      int64_t world_size) {
  std::string size_key = meeting_size_key(wire_key);
  put(Code::kCompareSet, {size_key, "", std::to_string(world_size)});
  MeetingFound found;
  found.world_size = std::string(read(Code::kCompareSet).strings[0]);
  found.count = number_at(wire_key);
  return found;
}

// Not by ADD of 0, nor by an exchange that changes nothing: after these, torch's servers let all
// through who wait at the key.
int64_t C10dStore::Conversation::number_at(Bytes wire_key) {
  if (ask(Code::kCheck, {wire_key}).number != 0) return 0;
  Bytes value = ask(Code::kGet, {wire_key}).strings[0];
  int64_t number = 0;
  std::from_chars(value.data(), value.data() + value.size(), number);
  return number;
}

}  // namespace rdzv
