#include "wire/messages.h"

#include <array>

namespace rdzv::native {

const char* name_of(Operation operation) {
  static const auto kNames = [] {
    std::array<const char*, kOperationMax + 1> names{""};
    for_each_request([&]<typename Message>(Message*) {
      const char*& name = names[static_cast<size_t>(Message::Is::kOperation)];
      name = Message::Is::kName;
      if constexpr (requires { Message::kSpokenName; }) name = Message::kSpokenName;
    });
    return names;
  }();
  return kNames[static_cast<size_t>(operation)];
}

}  // namespace rdzv::native
