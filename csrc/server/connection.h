// One connection, without what carries its bytes (transport.h): its buffers and its state. Finds
// out from the first byte which protocol the peer speaks and hands the bytes to it. Knows
// nothing of operations.
//
//   kOpen       reads and answers
//   kStalled    the peer does not read its answers, or one of its channels has too many requests
//               put aside: the next ones wait in the buffer until that is over
//   kUnserved   others have had much in this turn: the same, until the next
//   kPutOff     it has had its turn, or more: the same, until the others have had theirs
//   kFinishing  nothing more is read of it; it is closed when what is left for it was sent
//   kEnding     it is closed at the end of the turn, and nothing is sent or handled any more
//   kClosed
//
//   kOpen, kStalled, kUnserved, kPutOff -> each other: when bytes come, after requests were handled
//     or answers sent
//   kOpen, kStalled -> kFinishing: finish(), with answers unsent
//   any -> kEnding: end()          any -> kClosed: close()
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "base/timers.h"
#include "server/context.h"
#include "server/output.h"
#include "server/protocol.h"
#include "server/transport.h"

namespace rdzv {

class Connection final {
 public:
  enum class State : uint8_t {
    kOpen,
    kStalled,
    kUnserved,
    kPutOff,
    kFinishing,
    kEnding,
    kClosed,
  };

  // Made by ServerCore::connect.
  Connection(Transport& transport, ServerContext& context);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The peer has proved who it is, before it has said anything: from now on it is in that name space.
  // Without, it is a member of the default one.
  void identify(const tls::Identity& identity);
  const tls::Identity* identity() const { return transport_.identity(); }
  tls::Role role() const { return role_; }
  const ServerContext& context() const { return *context_; }

  // The peer has sent this.
  void receive(Bytes received);
  // The peer has ended its stream, or is asked for nothing more. It may still read what is left for
  // it.
  void finish();
  // The system refuses what the connection needs.
  void on_refused(int error);

  State state() const { return state_; }
  // Whether receive() would handle anything.
  bool wants_input() const { return state_ == State::kOpen; }
  // How much of what the peer has sent should be handed over at once: less when others have sent
  // much in this turn.
  size_t input_room() const;
  // Of a request that is not whole yet: how many bytes are missing at least, and how many if it is
  // like one that was seen before. 0: nothing is known.
  struct Awaited {
    size_t missing = 0;
    size_t expected = 0;
  };
  Awaited awaited() const;
  // Answers lie here for the end of the turn.
  bool is_to_be_flushed() const { return is_to_be_flushed_; }

  // Where replies are appended; call reply_ready() after it.
  std::string& out() { return out_.text(); }
  // Continues the reply with bytes that are sent from where they are: they come behind what is in
  // out() now, and before what is appended to it later. For a large value, or an answer that was
  // encoded once for many connections; small bytes cost less when they are copied to out().
  void send_shared(SharedBytes bytes) { out_.append_shared(std::move(bytes)); }
  // Bytes that were made for this connection alone.
  void append(std::string bytes);
  void reply_ready();
  // The rest of a reply, or all of it.
  void send_body(const AnswerBody& body);

  // Whether an answer of so many bytes may be made, for one that may be large. If not, because the
  // peer has too much that it has not read, or all have, then the connection ends, and nothing that
  // it is sent is kept.
  bool has_room(size_t bytes);

  // The peer does not read its replies: its requests have to wait until it has.
  bool congested() const;
  // Of the replies, in bytes.
  size_t unsent() const { return out_.unsent(); }
  // How many bytes of all replies were sent.
  uint64_t sent() const { return sent_; }
  // It is of several channels, which have their own bounds: all together may have more unsent.
  void share() { is_shared_ = true; }
  // Its requests may be handled again, at the end of the turn.
  void look_again() { flush_later(); }

  // Sends what it can, and `most` bytes at most, which it counts down; called at the end of the
  // turn. It is called again if there is more.
  void flush(size_t& most);
  // The transport takes more: it is flushed at the end of the turn.
  void resume_sending();

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

  // As close(), of one that may not speak: with a record of the audit.
  void refuse(const std::string& why);
  // `why` is empty when the peer just left; otherwise it is logged with the peer's address, and
  // replies leave as far as the socket takes them.
  void close(const std::string& why);
  bool closed() const { return state_ == State::kClosed; }
  // As close(), at the end of the turn; nothing is sent or handled any more. For whoever is amidst
  // something that a closed connection would change.
  void end(const std::string& why);
  bool is_ending() const { return state_ == State::kEnding; }
  // Its requests wait until others have had their slices.
  bool is_waiting_for_turn() const {
    return state_ == State::kUnserved || state_ == State::kPutOff;
  }

  // Departures': the next one of those that are closed.
  std::unique_ptr<Connection> next_gone;

  ConnectionMemory& memory() { return memory_; }
  const ConnectionMemory& memory() const { return memory_; }

  // Whose it is, and from where.
  std::string peer() const { return transport_.peer(); }
  std::string peer_host() const { return transport_.peer_host(); }
  std::string reached_at() const { return transport_.reached_at(); }

 private:
  void say_why(const std::string& why);
  void send_last();
  bool send_unsent(size_t& most);
  void consume_buffered(size_t slice);
  size_t consume_some(Bytes input, size_t slice);
  bool may_have_slice();
  void put_off(State as);
  bool choose_protocol(Bytes input);
  bool enter_named_space(Bytes input);
  void enter(Bytes space);
  void leave_space();
  std::string refusal_of_space() const;
  bool rest();
  size_t greeting_room() const;
  void keep(Bytes input);
  void begin_value();
  bool is_stalled() const;
  size_t keep_value(Bytes input);
  bool has_whole_value() const { return value_.size() == value_bytes_; }
  void end_unread(size_t more);
  void charge_input();
  void charge_kept(size_t bytes);
  void charge_unsent();
  void flush_later();

  Transport& transport_;
  ServerContext* context_;  // its name space
  State state_ = State::kOpen;
  bool is_to_be_flushed_ = false;  // it is in Connections::unsent
  tls::Role role_ = tls::Role::kMember;
  bool is_shared_ = false;
  bool is_out_of_memory_ = false;  // there was none for its name space
  Rates::Rate* rate_ = nullptr;    // of its address, if there is one
  uint64_t sent_ = 0;
  size_t place_;            // in Connections::open
  std::string end_reason_;  // kEnding
  ConnectionMemory memory_;
  struct Charges {
    explicit Charges(ConnectionMemory& memory)
        : input(&memory.input), unsent(&memory.unsent), shared(&memory.shared) {}
    Charge input;
    Charge unsent;
    Charge shared;
  };
  Charges charges_{memory_};
  std::optional<Greetings::Place> greeting_;  // until it has said who it is
  std::unique_ptr<Protocol> protocol_;
  std::string in_;  // the beginning of a request that is not whole yet
  // Of that request the last part, if it is a large value: received where it will stay.
  std::string value_;
  size_t value_bytes_ = 0;  // how long it will be; 0: there is none
  Output out_{&context_->memory.shared};
  bool was_congested_ = false;  // before the reply that is being made
  bool has_left_ = false;       // kClosed: nothing of it is left anywhere
  size_t debt_ = 0;  // units that it had beyond its slices: it has no further ones until others had
  std::optional<Timers::Id> last_timer_;  // kFinishing; or it rests
};

}  // namespace rdzv
