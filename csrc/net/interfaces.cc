#include "net/interfaces.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <memory>

#include "net/address.h"

namespace rdzv {
namespace {

struct InterfacesDeleter {
  void operator()(ifaddrs* list) const { ::freeifaddrs(list); }
};

}  // namespace

std::vector<std::string> interface_addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, InterfacesDeleter> owner(list);
  std::vector<std::string> found;
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    const int family = each->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    const socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    found.push_back(SocketAddress(each->ifa_addr, length).host());
  }
  return found;
}

}  // namespace rdzv
