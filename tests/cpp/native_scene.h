// A server and one native client of it, for the tests of what the server answers.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "server/server.h"
#include "support.h"

namespace rdzv::test {

struct NativeScene {
  Server server{"127.0.0.1", 0};
  NativePeer peer{server.port()};

  std::string ok(native::Operation operation, const Fields& body) {
    NativePeer::Answer answer = peer.call(operation, body.bytes);
    CHECK_MESSAGE(answer.status == ErrorCode::kOk, answer.message());
    return answer.body;
  }
  uint64_t set(Bytes key, Bytes value) {
    return ByteReader(ok(native::Operation::kSet, Fields().string32(key).string32(value))).u64();
  }
  NativePeer::Answer error(native::Operation operation, const Fields& body) {
    return peer.call(operation, body.bytes);
  }
};

// The body of an answer to GET.
inline std::string got(uint64_t version, Bytes value) {
  return Fields().u64(version).string32(value).bytes;
}

}  // namespace rdzv::test
