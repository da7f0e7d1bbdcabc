// The one error type of the C++ side. Stores, client and server's set-up throw Error; decoders and
// event-loop callbacks never throw. The codes are also the status bytes of the native protocol
// (docs/protocol.md), so their numbers stay.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace rdzv {

enum class ErrorCode : uint8_t {
  kOk = 0,
  kInvalidArgument = 1,  // the caller's input is wrong
  kTimeout = 2,          // the deadline passed first, and what was waited for is not there
  kNotANumber = 3,       // add on a value that is no decimal 64-bit number
  kLimit = 4,            // a key, a value or a request is larger than wire/limits.h allows
  kConnection = 5,       // the peer cannot be reached, or went away
  kProtocol = 6,         // the peer sent what the protocol does not allow, or is no store
  kUnsupported = 7,      // the peer does not know the operation
  kClosed = 8,           // the object was closed by its owner
  kAddressInUse = 9,     // somebody else listens there
  kRestarted = 10,       // the server came back without the data it had
  kState = 11,           // bytes that should be a group's state are not
  kInterrupted = 12,     // a signal handler asked to stop; never on the wire
  kRunClosed = 13,       // the rendezvous of this run id was closed
  kQueueEmpty = 14,      // nothing to pop, and the caller does not wait
  // The deadline passed, and nobody said how it stands: the peer did not answer, or the file was
  // locked. A write may or may not have been applied. Never on the wire.
  kNoAnswer = 15,
  kRunFailed = 16,  // nodes of this run gave up for good, and those left are too few
  kRefused = 17,    // one side does not take the other's token or certificate
};

// What was not there when a deadline passed. Whoever knows more than kMissingMax names the first.
struct Missing {
  std::vector<std::string> keys{};  // of values or queues
  std::vector<int64_t> ranks{};     // of a barrier or an exchange
};
inline constexpr size_t kMissingMax = 1024;

class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message, Missing missing = {})
      : code_(code), message_(std::move(message)), missing_(std::move(missing)) {}

  ErrorCode code() const { return code_; }
  // With kTimeout.
  const Missing& missing() const { return missing_; }
  const std::string& message() const { return message_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  ErrorCode code_;
  std::string message_;
  Missing missing_;
};

// What an errno of a socket or file call means, as text ("connection refused: nothing listens
// there").
std::string errno_text(int error);
// The same where the system refused something that we need, and what to do about it.
std::string refusal_text(int error);

}  // namespace rdzv
