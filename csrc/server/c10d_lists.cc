// Requests of the c10d protocol for lists of keys that others ask for as well (answer_cache.h).
#include <algorithm>
#include <utility>

#include "server/c10d_protocol.h"

namespace rdzv {
namespace {

using c10d::Code;

constexpr auto kForm = AnswerCache::Form::kC10d;
constexpr uint64_t kNoTag = 0;  // this protocol's answers do not say what they answer

}  // namespace

// The keys of a request for so many that others may ask for the same.
SharedKeys C10dProtocol::shared_keys(const c10d::Request& request) {
  Bytes list = request.raw.substr(1);
  SharedKeys known = context_.composed.answers.find(kForm, list);
  return known != nullptr ? known
                          : context_.composed.answers.remember(kForm, list, request.strings);
}

// Handles a request for keys that were asked for before, and returns how many bytes it has. While
// guess_ is set, it seems to be such a request, and more of it has to come.
size_t C10dProtocol::consume_known(Bytes input) {
  constexpr size_t kBeginning = 1 + 2 * sizeof(uint64_t);  // code, count, size of the first key
  if (guess_ == nullptr) {
    if (input.size() < kBeginning) return 0;
    if (!validated_ || !decoder_.is_between()) return 0;
    guess_ = context_.composed.answers.find_like(kForm, input.substr(1));
    if (guess_ == nullptr) return 0;
    compared_ = 0;
  }
  Bytes list = guess_->text();
  size_t there = std::min(input.size() - 1, list.size());
  bool is_same =
      input.substr(1 + compared_, there - compared_) == list.substr(compared_, there - compared_);
  compared_ = there;
  if (is_same && there < list.size()) return 0;
  SharedKeys keys = std::exchange(guess_, nullptr);
  if (!is_same) return 0;
  if (!turns_.empty()) pass_turns(nullptr);
  handle_known(static_cast<Code>(input[0]), keys);
  return 1 + list.size();
}

void C10dProtocol::handle_known(Code code, const SharedKeys& keys) {
  if (code == Code::kWait) {
    wait(keys);
  } else if (code == Code::kCheck) {
    bool all = context_.composed.answers.missing(kForm, keys, Table::Need::kPresent).at.empty();
    c10d::put_u8(out(), all ? 0 : 1);
    connection().reply_ready();
  } else if (const AnswerCache::Body& body = context_.composed.answers.body(kForm, keys);
             body.is_too_large) {
    refuse_large_answer();
  } else {
    send_body(body);
  }
}

void C10dProtocol::wait(const SharedKeys& keys) {
  if (!may_wait()) return;
  constexpr Table::Need kNeed = Table::Need::kPresent;
  // Whoever finds others waiting need not look.
  bool is_missing = context_.state.view().is_awaited(keys, kNeed) ||
                    !context_.composed.answers.missing(kForm, keys, kNeed).at.empty();
  park_or_stop(is_missing ? context_.state.view().wait(*this, kNoTag, keys, kNeed) : nullptr);
}

}  // namespace rdzv
