#include "net/port_holder.h"

#include <dirent.h>
#include <unistd.h>

#include <cctype>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

namespace rdzv {
namespace {

struct DirectoryCloser {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, DirectoryCloser>;

// Lines of /proc/net/tcp: "sl local_address rem_address st ... uid timeout inode"; 0A is LISTEN.
void collect_listeners(const char* table, uint16_t port, std::set<std::string>& sockets) {
  std::ifstream file(table);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >>
        timeout >> inode;
    size_t colon = local.rfind(':');
    if (state != "0A" || colon == std::string::npos) continue;
    if (std::stoul(local.substr(colon + 1), nullptr, 16) == port)
      sockets.insert("socket:[" + inode + "]");
  }
}

bool holds_one_of(const std::string& fd_folder, const std::set<std::string>& sockets) {
  Directory directory(::opendir(fd_folder.c_str()));
  if (!directory) return false;
  while (const dirent* entry = ::readdir(directory.get())) {
    char target[64];
    std::string path = fd_folder + "/" + entry->d_name;
    ssize_t size = ::readlink(path.c_str(), target, sizeof(target));
    if (size > 0 && sockets.count(std::string(target, static_cast<size_t>(size))) > 0) return true;
  }
  return false;
}

}  // namespace

std::string find_port_holder(uint16_t port) {
  std::set<std::string> sockets;
  collect_listeners("/proc/net/tcp", port, sockets);
  collect_listeners("/proc/net/tcp6", port, sockets);
  if (sockets.empty()) return "";
  Directory proc(::opendir("/proc"));
  if (!proc) return "";
  while (const dirent* entry = ::readdir(proc.get())) {
    std::string pid(entry->d_name);
    if (!std::isdigit(static_cast<unsigned char>(pid[0]))) continue;
    if (!holds_one_of("/proc/" + pid + "/fd", sockets)) continue;
    std::ifstream name_file("/proc/" + pid + "/comm");
    std::string name;
    std::getline(name_file, name);
    return "pid " + pid + " (" + name + ")";
  }
  return "";
}

}  // namespace rdzv
