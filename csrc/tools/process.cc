#include "tools/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace rdzv::tools {
namespace {

double from_stat(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t end_of_name = text.rfind(')');
  if (end_of_name == std::string::npos) return 0;
  constexpr int kUserTime = 12;  // fields after the name
  unsigned long long ticks = 0;
  size_t at = end_of_name + 1;
  for (int field = 1; field <= kUserTime + 1; ++field) {
    at = text.find_first_not_of(' ', at);
    size_t end = text.find(' ', at);
    if (end == std::string::npos) return 0;
    if (field >= kUserTime) ticks += std::stoull(text.substr(at, end - at));
    at = end;
  }
  return static_cast<double>(ticks) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

double cpu_seconds_of(pid_t pid) {
  if (pid == 0) return 0;
  double nanoseconds = 0;
  std::error_code error;
  std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task", error);
  if (error) return 0;
  for (const auto& thread : threads) {
    std::ifstream file(thread.path() / "schedstat");
    double on_cpu = 0;
    if (file >> on_cpu) nanoseconds += on_cpu;
  }
  return nanoseconds > 0 ? nanoseconds * 1e-9 : from_stat(pid);
}

double own_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double anonymous_bytes_of(pid_t pid) {
  if (pid == 0) return 0;
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string word; file >> word;) {
    double kilobytes = 0;
    if (word == "RssAnon:" && file >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

OpenFiles open_files_of(pid_t pid) {
  OpenFiles files;
  rlimit limit{};
  if (pid == 0 || ::prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) != 0) return files;
  files.limit = static_cast<unsigned long>(limit.rlim_cur);
  std::error_code error;
  for (std::filesystem::directory_iterator file("/proc/" + std::to_string(pid) + "/fd", error), end;
       !error && file != end; file.increment(error))
    ++files.open;
  return files;
}

unsigned long raise_file_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<unsigned long>(limit.rlim_cur);
}

}  // namespace rdzv::tools
