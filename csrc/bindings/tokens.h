// Where a process has its token from: what its caller gave, the environment, the user's
// configuration. Reads the file again when it changes. Knows Python.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <string>

#include "tls/keeper.h"

namespace rdzv {

struct FoundToken {
  std::string text;  // one or more tokens, as in a file
  std::string path;  // of the file; empty: it is in none
};

// `given`: None: RENDEZVOUS_TOKEN_FILE, RENDEZVOUS_TOKEN, then the file that `rendezvous token
// --save` writes. A str or bytes is the token itself, and an empty one none; a path names a file; a
// callable returns one of them. Throws kInvalidArgument for a file that cannot be read.
std::optional<FoundToken> find_token(const pybind11::object& given);
// The file that `rendezvous token --save` writes.
std::string saved_token_path();

// Follows the file that the token is in. None for none.
std::shared_ptr<tls::Keeper> keep_token(tls::Keeper::Side side,
                                        const std::optional<FoundToken>& token);

}  // namespace rdzv
