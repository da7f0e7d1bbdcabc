// The files that a process has its token and certificates in: reads them, and again when they have
// changed. Knows no Python.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tls/keeper.h"

namespace rdzv {

struct CredentialFile {
  std::string path;
  std::string tls::Texts::* text;
};

// Throws kInvalidArgument for a file that cannot be read. `what`: "the token file".
std::string read_credential_file(const std::string& path, const std::string& what);
// The same of a descriptor that the process was started with: read once, as there may be a pipe
// behind it, and kept for all that ask. The descriptor stays open, and no child gets it.
std::string read_token_descriptor(const std::string& number);

// Makes a keeper of these texts and files, and follows the files. Errors name them.
std::shared_ptr<tls::Keeper> keep_files(tls::Keeper::Side side, tls::Texts texts,
                                        std::vector<CredentialFile> files);

}  // namespace rdzv
