// One accepted connection: its socket and its buffers. Finds out from the first byte which protocol
// the peer speaks and hands the bytes to that session. Knows nothing of operations. Runs on the
// loop thread.
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "net/address.h"
#include "net/event_loop.h"
#include "net/process_fd.h"
#include "server/context.h"
#include "server/output.h"
#include "server/session.h"

namespace rdzv {

class Connection final : public EventHandler {
 public:
  using OnClosed = std::function<void(int fd)>;  // the number it had

  Connection(UniqueFd fd, const SocketAddress& peer, ServerContext& context,
             const OnClosed& on_closed);
  ~Connection() override;

  // Once, when the owner knows it: reads what the peer has sent already, and watches for the rest.
  // That spares the loop an event for each newcomer.
  void begin();

  void on_ready(bool readable, bool writable) override;
  void on_refused(int error) override;

  // Where replies are appended; call reply_ready() after it.
  std::string& out() { return out_.text(); }
  // Continues the reply with bytes that are sent from where they are: they come behind what is in
  // out() now, and before what is appended to it later. For a large value, or an answer that was
  // encoded once for many connections; small bytes cost less when they are copied to out().
  void send_shared(SharedBytes bytes) { out_.append_shared(std::move(bytes)); }
  // Bytes that were made for this connection alone.
  void append(std::string bytes);
  void reply_ready();

  // Whether an answer of so many bytes may be made, for one that may be large. If not, because the
  // peer has too much that it has not read, or all have, then the connection ends, and nothing that
  // it is sent is kept.
  bool has_room(size_t bytes);

  // The peer does not read its replies: its requests have to wait until it has.
  bool congested() const;
  // Of the replies, in bytes.
  size_t unsent() const { return out_.unsent(); }

  // Sends what it can; called at the end of the turn.
  void flush();

  // Handles more of the requests that came in an earlier turn.
  void go_on();
  // Of a closed one: clears away a part of what it has left behind. True: all of it.
  bool leave(Budget& budget);
  bool has_left() const { return has_left_; }

  // What one peer asked for may be more than there is: that one goes, not the server.
  template <typename Action>
  void guarded(Action&& action) {
    try {
      action();
    } catch (const std::bad_alloc&) {
      on_refused(ENOMEM);
    }
  }

  // `why` is empty when the peer just left; otherwise it is logged with the peer's address, and
  // replies leave as far as the socket takes them.
  void close(const std::string& why);
  bool closed() const { return !fd_; }
  // As close(), at the end of the turn; nothing is sent or handled any more. For whoever is amidst
  // something that a closed connection would change.
  void end(const std::string& why);
  bool is_ending() const { return !end_reason_.empty(); }

  ConnectionMemory& memory() { return memory_; }
  const ConnectionMemory& memory() const { return memory_; }

  const SocketAddress& peer() const { return peer_; }

 private:
  void receive();
  void send_last();
  void consume(Bytes received);
  void consume_buffered(size_t slice);
  size_t consume_some(Bytes input, size_t slice);
  bool may_have_slice();
  void put_off();
  bool choose_session(Bytes input);
  size_t greeting_room() const;
  void keep(Bytes input);
  void end_unread(size_t more);
  void charge_input();
  void charge_unsent();
  void flush_later();
  void update_interest();
  void update_low_water();
  void set_low_water(size_t bytes);
  void end_patience();

  ProcessFd fd_;
  SocketAddress peer_;  // kept, because a broken socket no longer knows it
  ServerContext& context_;
  const OnClosed& on_closed_;
  ConnectionMemory memory_;
  Charge input_charge_{&memory_.input};
  Charge unsent_charge_{&memory_.unsent};
  Charge shared_charge_{&memory_.shared};
  bool was_congested_ = false;  // before the reply that is being made
  size_t place_;                // in ServerContext::open
  std::optional<Greetings::Place> greeting_;
  std::string end_reason_;
  std::unique_ptr<Session> session_;
  std::string in_;  // the beginning of a request that is not whole yet
  Output out_{&context_.memory.shared};
  uint32_t low_water_ = 1;
  // While what is waited for is a guess: when it is given up.
  std::optional<EventLoop::TimerId> patience_;
  bool in_unsent_list_ = false;
  std::optional<EventLoop::TimerId> last_timer_;  // while sending_last_
  bool stalled_ = false;      // whole requests may lie in in_, left there because of congestion
  bool is_put_off_ = false;   // the same, because it has had its turn
  bool is_unserved_ = false;  // put off before it had a slice
  bool has_left_ = false;
  size_t debt_ = 0;  // units that it had beyond its slices: it has no further ones until others had
  bool sending_last_ = false;  // the peer has ended its stream; it may still read the replies
};

}  // namespace rdzv
