// What a newcomer is told who is refused before the core has seen it, in the native protocol.
// Torch's has no place for words: there the connection just ends.
#pragma once

#include <string>

#include "base/error.h"
#include "wire/messages.h"

namespace rdzv {

inline std::string refusal_frame(ErrorCode code, const std::string& why) {
  native::Header hello;
  hello.operation = static_cast<uint8_t>(native::Operation::kHello);
  std::string out;
  native::put_frame(out, native::reply_to(hello, code), native::ErrorReply{why, {}});
  return out;
}

}  // namespace rdzv
