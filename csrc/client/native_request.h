// A request of NativeStore on its way, and what comes back. For the files of NativeStore and
// RunClient alone.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "client/native_store.h"
#include "wire/native.h"

namespace rdzv {

struct NativeStore::Request {
  native::Operation operation;
  Bytes key;  // for messages, like keys
  Duration timeout;
  bool is_write = false;
  // It waits for others: the body begins with the time that the server may take.
  bool is_timed = false;
  const std::vector<Bytes>* keys = nullptr;
  bool server_may_wait = true;  // timed, but with no time for the server: now or never
  bool answered = false;        // an error came from the server itself
  // Sent to be answered soon, or to say something in time: no answer makes the connection suspect
  // whatever else came on it.
  bool is_sign_of_life = false;
  const char* key_is = "key";  // what messages call it
  bool names_ranks = false;    // a timeout's answer names ranks, and not positions in `keys`
  std::string body{};

  // What the answer to a timed request names, behind its message.
  Missing missing(ByteReader& answer) const;

  // "get of key 'a' on TCPStore 127.0.0.1:29400"
  std::string describe(const NativeStore& store) const {
    std::string text = native::name_of(operation);
    if (keys != nullptr) text += " of keys " + quoted_list(*keys);
    if (!key.empty()) text += std::string(" of ") + key_is + " " + quoted(key);
    return text + " on " + store.describe();
  }
};

// What an answer carries. An answer that is not as the protocol says is an error, not a guess.
class NativeStore::Answer {
 public:
  Answer(const NativeStore& store, const Request& request, TakenBytes body)
      : store_(store), request_(request), body_(std::move(body)), reader_(body_.view()) {}

  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

  ByteReader& reader() { return reader_; }
  Bytes string() { return native::take_string(reader_, body_.view().size()); }

  // An answer that is a value with its version, and no more.
  Versioned versioned() {
    Versioned result;
    result.version = reader_.u64();
    result.value = string();
    finish();
    return result;
  }

  // The value of such an answer, which is not moved for it.
  TakenBytes value() {
    reader_.u64();
    Bytes value = string();
    finish();
    return std::move(body_).from(body_.view().size() - value.size());
  }

  // Values that were taken out of it, when everything was.
  std::vector<TakenBytes> split(const std::vector<Bytes>& values) {
    finish();
    return std::move(body_).split(values);
  }

  // Call when everything was taken.
  void finish() const {
    if (!reader_.ok() || reader_.left() != 0) throw_unreadable();
  }
  [[noreturn]] void throw_unreadable() const {
    throw Error(ErrorCode::kProtocol,
                request_.describe(store_) + ": the server's answer cannot be read");
  }

 private:
  const NativeStore& store_;
  const Request& request_;
  TakenBytes body_;
  ByteReader reader_;
};

// Users' keys carry a '/' on the wire.
inline void put_wire_key(std::string& out, Bytes key) {
  native::put_u32(out, static_cast<uint32_t>(key.size() + 1));
  out.push_back('/');
  out.append(key);
}

}  // namespace rdzv
