// What who has dialled in vain is told.
#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "base/error.h"
#include "client/dial.h"

using namespace rdzv;

namespace {

std::string told(DialProgress& progress) {
  try {
    progress.throw_out_of_time("host:1", std::chrono::seconds(2));
  } catch (const Error& error) {
    return error.message();
  }
}

}  // namespace

TEST_CASE("dial: the attempt that the deadline cut off says less than the one before it") {
  DialProgress progress;
  progress.note_failure("refused", false);
  progress.note_failure("timed out", true);
  CHECK(told(progress).find("(2 attempts); last: refused") != std::string::npos);
}

TEST_CASE("dial: of several attempts the last one is told, and the only one in any case") {
  DialProgress several;
  several.note_failure("no such name", false);
  several.note_failure("refused", false);
  CHECK(told(several).find("last: refused") != std::string::npos);
  DialProgress only;
  only.note_failure("timed out", true);
  CHECK(told(only).find("(1 attempts); last: timed out") != std::string::npos);
}
