// What a message to a native server is answered, for RunClient.
#pragma once

#include <string>

#include "client/native_request.h"
#include "client/native_store.h"
#include "wire/messages.h"

namespace rdzv {

// Sends a message, again where that is allowed, and is what was answered: views into a body that it
// keeps. An answer that is not as the protocol says is an error, not a guess.
template <typename Message>
class NativeStore::Answer : public Message::Is::Reply {
 public:
  Answer(NativeStore& store, Request& request, const Message& message) {
    request.ask(message);
    body_ = store.run_taking(request);
    typename Message::Is::Reply& reply = *this;
    if (!native::take(body_.view(), reply)) request.throw_unreadable(store.describe());
  }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

 private:
  TakenBytes body_;
};

}  // namespace rdzv
