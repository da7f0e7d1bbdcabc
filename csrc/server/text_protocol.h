// What a person who has nothing but `nc HOST PORT` gets: a word on a line, answered with lines of text,
// after which the connection ends.
//
//   status        what the name space of the connection holds, and a line for each run
//   status RUN    of one run, who is in it and who was lost
//   help          these words
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "server/protocol.h"

namespace rdzv {

// Words begin with a small letter, and no other protocol does.
inline bool begins_text(char first_byte) {
  return first_byte >= 'a' && first_byte <= 'z';
}

// The answer to one line, which has no line end.
std::string text_answer(Bytes line, const ServerContext& context);

std::unique_ptr<Protocol> make_text_protocol(Connection& connection, ServerContext& context);

}  // namespace rdzv
