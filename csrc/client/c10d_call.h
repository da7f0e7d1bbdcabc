// A call of C10dStore on its way: what it is for messages, and its talk with the server. For the
// files of C10dStore alone; used by the calling thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "client/c10d_store.h"
#include "store/meeting.h"

namespace rdzv {

// Users' keys as they are on the wire.
class C10dStore::WireKeys {
 public:
  explicit WireKeys(const std::vector<Bytes>& keys) {
    owned_.reserve(keys.size());
    for (Bytes key : keys) owned_.push_back("/" + std::string(key));
    views_.assign(owned_.begin(), owned_.end());
  }

  const std::vector<Bytes>& all() const { return views_; }
  Bytes one() const { return views_[0]; }

 private:
  std::vector<std::string> owned_;
  std::vector<Bytes> views_;
};

struct C10dStore::Request {
  const char* name;
  Bytes key;  // for messages, like keys
  Duration timeout;
  bool is_write = false;
  bool is_timed = false;  // it waits for others
  const std::vector<Bytes>* keys = nullptr;
  // What not every server of this protocol knows.
  bool is_extension = false;

  std::string describe(const C10dStore& store) const { return store.about(name, key, keys); }
};

// Ends by a return, by an Error, or by Lost, which run() turns into another try or an Error. The
// connection goes back to the pool if the server owes nothing on it.
class C10dStore::Conversation {
 public:
  struct Lost {
    std::string why;
  };

  Conversation(C10dStore& store, const Request& request, const Deadline& deadline,
               const Deadline& patient, std::unique_ptr<C10dConnection> connection);
  ~Conversation();
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  const Deadline& deadline() const { return deadline_; }
  bool sent() const { return connection_->sent(); }

  void put(c10d::Code code, const std::vector<Bytes>& strings, int64_t number = 0) {
    connection_->put(code, strings, number);
  }
  // The next answer; its views last until the next call. Throws kNoAnswer when the server does
  // not answer in time.
  const c10d::Reply& read(c10d::Code code, size_t keys = 0);
  // Whether the server answers on a new connection while nothing comes on this one.
  bool is_cut_off();
  const c10d::Reply& ask(c10d::Code code, const std::vector<Bytes>& strings, int64_t number = 0);
  // A round trip that shows that all before it was applied.
  void acknowledge();

  // WAIT or BARRIER: false when it was not satisfied by the deadline, and no longer waits.
  bool wait(c10d::Code code, const std::vector<Bytes>& wire_keys, int64_t number = 0);
  // The value now, as of one moment; none for a missing key.
  std::optional<std::string> value_of(Bytes wire_key);
  // Which of these are not there now.
  std::vector<Bytes> missing_of(const std::vector<Bytes>& keys);
  // The values, as of one moment, once all are there. Returns the keys that are missing at the
  // deadline, in the order of `wire_keys`; none: `values` has them all.
  std::vector<Bytes> wait_for_values(const std::vector<Bytes>& wire_keys,
                                     std::vector<TakenBytes>& values);
  // Until all ranks have arrived at the round of a barrier; those that have not at the deadline.
  std::vector<int64_t> wait_for_ranks(const BarrierCall& call, const ExchangeSlots& slots);
  // Before trying again what somebody else was faster at.
  void pause();
  [[noreturn]] void throw_timeout(const std::string& text, Missing missing) const;

  // What a caller finds where others meet. Says how many they are, unless somebody has.
  MeetingFound look_at_meeting(const std::string& wire_key, int64_t world_size);
  // The decimal number at a key; 0 for what is none.
  int64_t number_at(Bytes wire_key);

 private:
  C10dConnection::Outcome receive(c10d::ReplyDecoder& decoder);
  C10dConnection::Outcome receive_while_it_comes(c10d::ReplyDecoder& decoder);

  C10dStore& store_;
  const Request& request_;
  const Deadline& deadline_;
  const Deadline& patient_;
  std::unique_ptr<C10dConnection> connection_;
  c10d::Reply reply_;
  bool echo_owed_ = false;  // behind the answers to all that was put
  Duration next_pause_ = Duration::zero();
};

}  // namespace rdzv
