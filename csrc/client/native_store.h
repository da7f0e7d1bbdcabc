// A store on a server, over the native protocol. Threads share one connection, which is made anew
// when it breaks or falls silent: reads are repeated, writes only if none of their bytes had left.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client/channel.h"
#include "client/native_line.h"
#include "client/native_operations.h"
#include "client/native_request.h"
#include "client/tcp_store.h"
#include "store/meeting.h"
#include "wire/native.h"

namespace rdzv {

class NativeStore final : public TCPStore {
 public:
  NativeStore(const Place& server_at, Duration timeout);

  void ping() override;
  std::string observed_address() override;
  bool is_of_one_job() override;
  RDZV_STORE_OPERATIONS
  // An item whose answer is lost with the connection is lost: the error says that it may be. One that
  // comes when the call was given up or interrupted goes back, to the end of the queue.
  TakenBytes queue_pop(Bytes key, bool block, Duration timeout) override;

  // Carries out any operation on the same server: sends it, again where that is allowed. An error
  // leaves in it whether it was answered.
  NativeResult run(NativeOperation& operation);
  NativeResult run(NativeOperation&& operation) { return run(operation); }
  template <typename Result>
  Result run_for(NativeOperation&& operation) {
    return std::get<Result>(run(operation));
  }
  template <typename Result>
  Result run_for(NativeOperation& operation) {
    return std::get<Result>(run(operation));
  }

 private:
  void connect(const Deadline& deadline) override;
  void disconnect() override { line_.close(is_own_process()); }
  bool is_closed() const override { return line_.is_closed(); }
  int64_t add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount, Duration timeout) override;
  TakenBytes run_taking(NativeRequest& request);
  Channel::Reply ask(const NativeRequest& request, const std::shared_ptr<Channel>& channel,
                     const Deadline& patient);

  NativeLine line_;
};

}  // namespace rdzv
