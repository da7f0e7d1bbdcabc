#include "client/call_rules.h"

#include "base/error.h"
#include "base/text.h"

namespace rdzv {

std::string about_call(const char* operation, Bytes key, const std::vector<Bytes>* keys,
                       const char* key_is, const std::string& store) {
  std::string text = operation;
  if (keys != nullptr) text += " of keys " + quoted_list(*keys);
  if (!key.empty()) text += std::string(" of ") + key_is + " " + quoted(key);
  return text + " on " + store;
}

void throw_no_answer(const std::string& about, Duration waited, bool is_write, bool sent) {
  const char* outcome = !is_write ? "" : sent ? kUnknownOutcome : "; it was not sent";
  throw Error(ErrorCode::kNoAnswer, about + ": timeout: no answer within " + seconds_text(waited) +
                                        "; the server is stopped, overloaded or unreachable" +
                                        outcome);
}

}  // namespace rdzv
