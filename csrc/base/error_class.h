// Which class of rendezvous._base.errors an Error is, for all of our extensions. Knows no Python.
#pragma once

#include "base/error.h"

namespace rdzv {

inline const char* class_of(const Error& error) {
  const Missing& missing = error.missing();
  switch (error.code()) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kNotANumber:
      return "StoreValueError";
    case ErrorCode::kTimeout:
      // Without a name it was no key that was waited for, but clients of a server, say.
      return missing.keys.empty() && missing.ranks.empty() ? "StoreTimeoutError"
                                                           : "StoreKeysMissingError";
    case ErrorCode::kNoAnswer:
      return "StoreNoAnswerError";
    case ErrorCode::kLimit:
      return "StoreLimitError";
    case ErrorCode::kConnection:
      return "StoreConnectionError";
    case ErrorCode::kProtocol:
      return "StoreProtocolError";
    case ErrorCode::kRefused:
      return "StoreRefusedError";
    case ErrorCode::kUnsupported:
      return "StoreUnsupportedError";
    case ErrorCode::kClosed:
      return "StoreClosedError";
    case ErrorCode::kAddressInUse:
      return "StoreAddressInUseError";
    case ErrorCode::kRestarted:
      return "StoreRestartedError";
    case ErrorCode::kQueueEmpty:
      return "QueueEmptyError";
    case ErrorCode::kRunClosed:
      return "RendezvousClosedError";
    case ErrorCode::kRunFailed:
      return "RendezvousFailedError";
    case ErrorCode::kState:
      return "RendezvousStateError";
    case ErrorCode::kOk:
    case ErrorCode::kInterrupted:
      break;
  }
  return "StoreError";
}

}  // namespace rdzv
