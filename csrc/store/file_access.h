// Who may use a file: owner, group, mode and access list.
#pragma once

#include "store/file_log.h"

namespace rdzv {

// Gives the file that is open as `fd` to those who have `model`, as far as that is allowed. False:
// somebody who may use `model` might not be able to use it.
bool share_as(const FileLog& model, int fd);

}  // namespace rdzv
