// The native protocol on one connection (docs/protocol.md): framing, HELLO, and whose each request
// is. A peer that breaks the framing is disconnected.
//
// A connection has one channel, 0, until a request names another one. From then on it is shared:
// no channel holds up another. Each is served directly while it has nothing to do and the
// connection's turn lasts; else its requests are put aside, and it goes on by itself as a chore.
// Only when a channel has too much put aside is the connection not read until it has less.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "base/hash.h"
#include "server/native_channel.h"
#include "server/protocol.h"

namespace rdzv {

class NativeProtocol final : public Protocol {
 public:
  NativeProtocol(Connection& connection, ServerContext& context);
  ~NativeProtocol() override;

  size_t consume(Bytes input, Bytes value) override;
  bool is_in_request() const override { return shared_ == nullptr && first_.is_in_request(); }
  bool is_held_back() const override { return shared_ != nullptr && shared_->is_held_back; }
  size_t missing() const override { return missing_; }
  size_t value_begin(Bytes input) const override;
  bool greeted() const override { return hello_seen_; }
  bool leave(Budget& budget) override;
  void on_sent() override;

  // Of its channels. A reply was made.
  void count_unsent(NativeChannel& channel) {
    if (shared_ != nullptr) count_unsent_of(channel);
  }
  // Null: it is not open.
  NativeChannel* find(uint16_t number);
  // It has left, and is gone after this.
  void close(const NativeChannel& channel);
  // Less is put aside than before.
  void go_on_reading();

 private:
  // Of the answers that are not sent, whose they are: up to that byte of all that were ever made.
  struct Part {
    uint16_t channel;
    uint64_t serial;
    uint64_t end;
  };
  struct Shared {
    explicit Shared(HashSeed seed) : others(0, NumberHash{seed}) {}

    NumberMap<uint16_t, std::unique_ptr<NativeChannel>> others;
    std::deque<Part> unsent;
    uint64_t counted = 0;  // bytes that were made
    uint64_t sent = 0;
    uint64_t serials = 0;
    bool is_held_back = false;
  };

  size_t consume_preamble(Bytes input);
  void note_unfinished(native::Progress progress, const native::Frame& frame, size_t there);
  void hello(const native::Frame& frame);
  bool serve(const native::Frame& frame, Bytes bytes);
  void share();
  NativeChannel* open(const native::Header& header);
  void count_unsent_of(NativeChannel& channel);
  template <typename Visit>
  void for_each_channel(Visit&& visit);

  ServerContext& context_;
  NativeChannel first_;
  std::unique_ptr<Shared> shared_;  // null: nobody has named another channel
  std::string host_name_;       // of who has said HELLO
  Hosts::Host* host_ = nullptr;
  size_t missing_ = 0;
  bool preamble_seen_ = false;
  bool hello_seen_ = false;
};

}  // namespace rdzv
