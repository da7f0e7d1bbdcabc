// Who may use a file, and what becomes of what a previous job left in it. Opens a FileStore's file
// under its rules (docs/filestore.md); knows headers, no records.
//
// Besides the file there is `<path>.lock`, which everybody who has the store open holds a shared
// lock on. It is a file of its own because the store's file is replaced by compaction: whoever
// opens the new one first must still see that the store is in use.
#pragma once

#include <string>

#include "base/clock.h"
#include "store/file_fd.h"
#include "store/file_format.h"
#include "store/file_log.h"

namespace rdzv {

struct OpenedFile {
  FileLog log;  // its header was read
  file_format::Header header;
  FileFd users;  // the shared lock
};

// `boot`: of this host. Throws kConnection, kProtocol, kAddressInUse, kUnsupported, kNoAnswer.
OpenedFile open_store_file(const std::string& path, const std::string& job_id, const BootId& boot,
                           Duration timeout);

// Before a user goes: the last one removes the lock file. `path`: absolute, without links.
void tidy_up(const std::string& path, const FileFd& users);

}  // namespace rdzv
