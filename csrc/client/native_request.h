// A request on a native server apart from what carries it there: what it asks, when it may be sent
// again, and what its caller is told. No socket, lock or thread; NativeStore's threads and asyncio's
// tasks go by it alike.
#pragma once

#include <string>
#include <vector>

#include "client/call_rules.h"
#include "client/core.h"
#include "store/taken_bytes.h"
#include "wire/messages.h"

namespace rdzv {

struct NativeRequest {
  Bytes key;  // for messages, like keys
  Duration timeout;
  bool is_write = false;
  // It waits for others: the body begins with the time that the server may take.
  bool is_timed = false;
  const std::vector<Bytes>* keys = nullptr;
  bool server_may_wait = true;  // timed, but with no time for the server: now or never
  bool answered = false;        // an error came from the server itself
  // Sent to be answered soon, or to say something in time: no answer makes the connection suspect
  // whatever else came on it.
  bool is_sign_of_life = false;
  const char* key_is = "key";  // what messages call it
  bool names_ranks = false;    // a timeout's answer names ranks, and not positions in `keys`
  bool has_wire_key = false;   // the message's key is as it is on the wire already
  native::Operation operation{};
  std::string body{};
  int attempts = 0;

  template <typename Message>
  void ask(const Message& message) {
    operation = Message::Is::kOperation;
    // Users' keys carry a '/' on the wire.
    native::put(body, message, has_wire_key ? Bytes() : native::kUsersPrefix);
  }

  // Before it is sent, each time.
  void begin_attempt(const CallTimes& times);
  static bool is_answer(const ClientCore::Reply& reply) {
    return reply.outcome == ClientCore::Outcome::kAnswered && reply.status == ErrorCode::kOk;
  }
  // Whether no answer in time makes the connection suspect. `was_alive`: its peer has shown meanwhile
  // that it is there.
  bool is_suspicious_unless(bool was_alive) const { return is_sign_of_life || !was_alive; }
  // What comes of a reply that is no answer. It returns if the request is to be sent again, which
  // may not apply it twice; else it throws what the caller is told. `broken`: why the connection is
  // gone.
  void throw_unless_repeatable(const ClientCore::Reply& reply, const CallTimes& times,
                               const std::string& store, const std::string& broken);
  [[noreturn]] void throw_unreadable(const std::string& store) const;

  std::string describe(const std::string& store) const {
    return about_call(native::name_of(operation), key, keys, key_is, store);
  }

 private:
  [[noreturn]] void throw_error_reply(const ClientCore::Reply& reply, const CallTimes& times,
                                      const std::string& store);
  // What the answer to a timed request names, behind its message.
  Missing missing(const native::ErrorReply& answer) const;
};

}  // namespace rdzv
