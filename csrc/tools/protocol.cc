#include "tools/protocol.h"

#include "base/error.h"

namespace rdzv::tools {

std::unique_ptr<Protocol> Protocol::make(Wire wire) {
  switch (wire) {
    case Wire::kC10d:
      return make_c10d();
    case Wire::kNative:
      return make_native();
    case Wire::kResp:
      return make_resp();
    case Wire::kMemcached:
      return make_memcached();
  }
  return nullptr;
}

void Protocol::put_barrier(std::string&, Bytes, uint64_t) {
  cannot("barrier");
}

bool Protocol::put_exchange(std::string&, Bytes, uint64_t, uint64_t, Bytes) {
  cannot("exchange");
}

void Protocol::put_gather(std::string&, Bytes, uint64_t, size_t) {
  cannot("gather");
}

void Protocol::put_wait_all(std::string&, Bytes, size_t) {
  cannot("a wait for many keys");
}

void Protocol::put_multi_get(std::string&, Bytes, size_t, size_t) {
  cannot("multi_get");
}

void Protocol::put_multi_set(std::string&, Bytes, size_t, Bytes) {
  cannot("multi_set");
}

void Protocol::cannot(const char* what) const {
  throw Error(ErrorCode::kUnsupported,
              std::string("the load driver has no ") + what + " for " + name_of(wire_));
}

}  // namespace rdzv::tools
