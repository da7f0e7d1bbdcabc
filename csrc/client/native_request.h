// A request of NativeStore on its way, and what comes back. For the files of NativeStore and
// RunClient alone.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "client/native_store.h"
#include "wire/messages.h"

namespace rdzv {

struct NativeStore::Request {
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

  // What the answer to a timed request names, behind its message.
  Missing missing(const native::ErrorReply& answer) const;

  // "get of key 'a' on TCPStore 127.0.0.1:29400"
  std::string describe(const NativeStore& store) const {
    std::string text = native::name_of(operation);
    if (keys != nullptr) text += " of keys " + quoted_list(*keys);
    if (!key.empty()) text += std::string(" of ") + key_is + " " + quoted(key);
    return text + " on " + store.describe();
  }
};

// Sends a message, again where that is allowed, and is what was answered: views into a body that it
// keeps. An answer that is not as the protocol says is an error, not a guess.
template <typename Message>
class NativeStore::Answer : public Message::Is::Reply {
 public:
  Answer(NativeStore& store, Request& request, const Message& message)
      : store_(store), request_(request) {
    request.operation = Message::Is::kOperation;
    // Users' keys carry a '/' on the wire.
    native::put(request.body, message, request.has_wire_key ? Bytes() : native::kUsersPrefix);
    body_ = store.run_taking(request);
    typename Message::Is::Reply& reply = *this;
    if (!native::take(body_.view(), reply)) throw_unreadable();
  }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  // One of its values, or all, which are not moved for it.
  TakenBytes taking(Bytes one) && { return std::move(body_).part(one); }
  std::vector<TakenBytes> taking(const std::vector<Bytes>& all) && {
    return std::move(body_).split(all);
  }

  [[noreturn]] void throw_unreadable() const {
    throw Error(ErrorCode::kProtocol,
                request_.describe(store_) + ": the server's answer cannot be read");
  }

 private:
  const NativeStore& store_;
  const Request& request_;
  TakenBytes body_;
};

}  // namespace rdzv
