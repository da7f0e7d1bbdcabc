// Makes system calls fail that the code under test makes: the k-th call of one kind, once. The
// functions stand before libc's in this program (sys_faults.cc), so that nothing under test knows.
//
// What the test itself does is left alone: a thread that holds an Exempt makes its calls unharmed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rdzv::test {

enum class Call : uint8_t {
  kAccept,
  kBind,
  kConnect,
  kEpollCreate,
  kEpollCtl,  // but EPOLL_CTL_DEL, which needs nothing that can be refused
  kEpollWait,
  kEventFd,
  kFcntl,
  kGetPeerName,
  kGetRandom,
  kGetSockName,
  kGetSockOpt,
  kListen,
  kOpen,
  kPoll,
  kRead,
  kReceive,
  kSend,
  kSendMessage,
  kSetSockOpt,
  kSocket,
  kThread,
  kWrite,
};
inline constexpr size_t kCalls = static_cast<size_t>(Call::kWrite) + 1;

const char* name_of(Call call);
// The errors to try; that a call may give, says its manual page.
std::vector<int> errors_of(Call call);

// From now on the k-th call (from 0) fails with `error`, and all later ones if `for_good`.
void fail_call(Call call, uint64_t k, int error, bool for_good = false);
// Nothing fails any more.
void hold_faults();
// Whether something has failed since the last fail_call().
bool has_failed();
// Of that kind, by all threads but the exempt ones, since the last fail_call().
uint64_t calls_of(Call call);
// Of all kinds, ever.
uint64_t all_calls();

// While it lives, calls fail on this thread alone.
class OnlyHere {
 public:
  OnlyHere();
  ~OnlyHere();
  OnlyHere(const OnlyHere&) = delete;
  OnlyHere& operator=(const OnlyHere&) = delete;
};

class Exempt {
 public:
  Exempt();
  ~Exempt();
  Exempt(const Exempt&) = delete;
  Exempt& operator=(const Exempt&) = delete;
};

}  // namespace rdzv::test
