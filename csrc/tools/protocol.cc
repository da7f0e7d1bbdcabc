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

void Protocol::cannot(const char* what) const {
  throw Error(ErrorCode::kUnsupported,
              std::string("the load driver has no ") + what + " for " + name_of(wire_));
}

}  // namespace rdzv::tools
