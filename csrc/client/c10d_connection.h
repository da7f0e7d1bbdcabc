// One connection that speaks the c10d protocol, used by one call at a time: answers come in the
// order of the requests, and nothing else tells them apart. So a connection on which an answer is
// still owed is of no use to the next call, and is closed. No lock, no thread of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "net/process_fd.h"
#include "wire/c10d.h"
#include "wire/c10d_reply.h"

namespace rdzv {

class C10dConnection {
 public:
  enum class Outcome {
    kDone,
    kTimedOut,  // the answer may still come: read it again, or drop the connection
    kLost,      // the peer closed the connection, or the network did
    kInvalid,   // the answer is none that the protocol knows
  };

  explicit C10dConnection(UniqueFd fd) : fd_(std::move(fd)) {}

  // Puts a request behind those to be sent; bytes leave in read().
  void put(c10d::Code code, const std::vector<Bytes>& strings, int64_t number = 0);

  // Sends all that is to be sent and reads the next answer. The reply's views last until the next
  // call. Throws kInterrupted.
  Outcome read(c10d::ReplyDecoder& decoder, c10d::Reply& reply, const Deadline& deadline);

  // Of what came, how much read() has not returned.
  size_t unread() const { return in_.size() - in_begin_; }
  // How many answers the peer owes.
  size_t owed() const { return owed_; }
  // One answer fewer is owed: a cancelled wait has none.
  void forgive() { --owed_; }

  // Why read() said kLost.
  const std::string& lost_text() const { return lost_text_; }
  // Whether any byte left since the last begin().
  bool sent() const { return sent_; }
  void begin() { sent_ = false; }
  // Between calls: whether nothing is owed, and the peer is not known to be gone.
  bool idle() const;
  std::string local_address() const;
  // Another thread's way to end a call.
  void shut_down();
  // Whether the peer has sent anything that read() has not returned, or takes what is being sent.
  // Between looks: what it took since the last.
  bool shows_life();

 private:
  static constexpr size_t kReadBytes = 64 * 1024;

  bool flush();
  bool receive();
  bool lose();

  ProcessFd fd_;
  std::string out_;
  size_t out_begin_ = 0;  // sent so far
  std::string in_;
  size_t in_begin_ = 0;  // the answers before it were read
  size_t owed_ = 0;      // answers
  bool sent_ = false;
  bool lost_ = false;
  std::string lost_text_;
  size_t untaken_ = 0;  // at the last look
  std::vector<char> buffer_ = std::vector<char>(kReadBytes);
};

}  // namespace rdzv
