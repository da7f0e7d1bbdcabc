// What every call on a server keeps to, over whichever protocol and whoever waits for it: how long
// it may take, and what is said when no answer comes.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "client/patience.h"

namespace rdzv {

// How long a call may take: as its caller says; with the grace that an answer gets; and to get a
// lost connection back.
struct CallTimes {
  CallTimes(Duration timeout, bool waits_for_others)
      : deadline(Deadline::after(timeout)),
        patient(Deadline::after(timeout + kAnswerGrace)),
        reconnect(waits_for_others
                      ? patient
                      : Deadline::after(std::min(timeout + kAnswerGrace, kReconnectMax))) {}

  Deadline deadline;
  Deadline patient;
  Deadline reconnect;
};

inline constexpr const char* kUnknownOutcome = "; it may or may not have been applied";

// "get of key 'a' on TCPStore 127.0.0.1:29400", for messages.
std::string about_call(const char* operation, Bytes key, const std::vector<Bytes>* keys,
                       const char* key_is, const std::string& store);
// `sent`: whether any byte of it left, which who writes has to know.
[[noreturn]] void throw_no_answer(const std::string& about, Duration waited, bool is_write,
                                  bool sent);

}  // namespace rdzv
