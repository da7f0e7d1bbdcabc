// Whole files of a store: written beside the one that they replace and put in its place in one
// step, or over it where that is not allowed. When these return, what they wrote is on the disk.
#pragma once

#include <optional>
#include <string>

#include "store/file_format.h"
#include "store/file_log.h"
#include "store/table.h"

namespace rdzv {

// Makes `header` and `table` the file at the path of `before`, in one step, so that nobody ever
// sees a part of it, also after a power failure. Mode, group and access list are those of `before`;
// its owner, too, if that is allowed. Under the writer's lock of `before`; there is none on the new
// one. Nothing: it is not allowed, or would take `before` from somebody who may use it; `refusal`
// says why.
std::optional<FileLog> replace_store_file(const FileLog& before, const file_format::Header& header,
                                          const Table& table, std::string& refusal);

// Makes `log` an empty store where it is. Under its writer's lock, with no other user. Whoever dies
// on the way leaves a file that is none yet.
void restart_store_file(FileLog& log, const file_format::Header& header);

}  // namespace rdzv
