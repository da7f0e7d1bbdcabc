// How a message of the native protocol is described, once: its fields in the order of the wire,
//
//   struct SetRequest {
//     using Is = Request<Operation::kSet, "set", VersionReply>;
//     Key key;
//     Value value;
//     static void fields(auto& a, auto& m) { all(a, "key", m.key, "value", m.value); }
//   };
//
// What is done with them is an archive: Put appends a body, Take reads one, Describe says what
// docs/protocol.md says. A field's type is its layout and its limit. What was taken is views into
// the body. No sockets, threads or clock.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "wire/limits.h"
#include "wire/native.h"

namespace rdzv::native {

// A string of at most so many bytes. The limit is kept by who takes it.
template <size_t kMax>
struct Limited : Bytes {
  static constexpr size_t kBytesMax = kMax;
  constexpr Limited() = default;
  template <typename T>
    requires std::convertible_to<const T&, Bytes>
  constexpr Limited(const T& bytes) : Bytes(bytes) {}
};
struct Key : Limited<limits::kWireKeyBytesMax> {
  using Limited::Limited;
};
using Value = Limited<limits::kValueBytesMax>;
using Text = Limited<limits::kTextBytesMax>;
using RunId = Limited<limits::kRunIdBytesMax>;

// A list of at most so many.
template <typename T, size_t kMax>
struct List : std::vector<T> {
  static constexpr size_t kCountMax = kMax;
  List() = default;
  List(std::vector<T> items) : std::vector<T>(std::move(items)) {}
};

// Requests' lists, which may be long and come often: who takes them gives the memory for them.
struct Keys {
  static constexpr size_t kStringsAnItem = 1;
  std::span<const Bytes> strings{};
};
struct Pairs {  // key, value, key, value, ...
  static constexpr size_t kStringsAnItem = 2;
  std::span<const Bytes> strings{};
};

template <typename T>
concept Number = std::integral<T> && !std::same_as<T, bool>;
// Flags, and enumerations whose values go up to kLast.
template <typename T>
concept Choice = std::same_as<T, bool> || std::is_enum_v<T>;
template <typename T>
concept String = std::derived_from<T, Bytes>;
template <typename T>
concept Strings = std::same_as<T, Keys> || std::same_as<T, Pairs>;
template <typename T, typename Archive>
concept Record = requires(Archive& archive, T& record) { T::fields(archive, record); };

template <Choice T>
constexpr auto last_of() {
  if constexpr (std::same_as<T, bool>) {
    return uint8_t{1};
  } else {
    return static_cast<std::underlying_type_t<T>>(T::kLast);
  }
}

// Each name and its field, in turn.
template <typename Archive, typename Field, typename... More>
void all(Archive& archive, const char* name, Field& field, More&&... more) {
  archive.field(name, field);
  if constexpr (sizeof...(more) > 0) all(archive, std::forward<More>(more)...);
}

template <size_t kSize>
struct Name {
  consteval Name(const char (&from)[kSize]) { std::copy_n(from, kSize, text); }
  char text[kSize];
};

// What a message asks, and the body of the answer that says yes.
template <Operation kCode, Name kText, typename Answer>
struct Request {
  static constexpr Operation kOperation = kCode;
  static constexpr const char* kName = kText.text;
  using Reply = Answer;
};

// The body of an answer that says no more than that it is done.
struct Nothing {
  static void fields(auto&, auto&) {}
};
// There is no answer.
struct NoReply : Nothing {};

class Put {
 public:
  // `key_prefix` goes before every key.
  explicit Put(std::string& out, Bytes key_prefix = {}) : out_(out), key_prefix_(key_prefix) {}

  template <Number T>
  void field(const char*, const T& value) {
    append_little_endian(out_, static_cast<std::make_unsigned_t<T>>(value));
  }
  template <Choice T>
  void field(const char*, const T& value) {
    append_little_endian(out_, static_cast<decltype(last_of<T>())>(value));
  }
  template <String T>
  void field(const char*, const T& value) {
    put_string(out_, value);
  }
  void field(const char*, const Key& key) {
    put_u32(out_, static_cast<uint32_t>(key_prefix_.size() + key.size()));
    out_.append(key_prefix_).append(key);
  }
  void field(const char*, const Id128& id) {
    out_.append(reinterpret_cast<const char*>(id.data()), id.size());
  }
  template <Strings T>
  void field(const char* name, const T& list) {
    put_u32(out_, static_cast<uint32_t>(list.strings.size() / T::kStringsAnItem));
    for (size_t i = 0; i < list.strings.size(); ++i) {
      if (i % T::kStringsAnItem == 0) {
        field(name, Key(list.strings[i]));
      } else {
        put_string(out_, list.strings[i]);
      }
    }
  }
  template <typename T, size_t kMax>
  void field(const char* name, const List<T, kMax>& list) {
    put_u32(out_, static_cast<uint32_t>(list.size()));
    for (const T& item : list) field(name, item);
  }
  template <typename T>
  void field(const char* name, const std::optional<T>& value) {
    if (value) field(name, *value);
  }
  template <Record<Put> T>
  void field(const char*, const T& record) {
    T::fields(*this, record);
  }

 protected:
  std::string& out_;

 private:
  Bytes key_prefix_;
};

template <typename Message>
void put(std::string& out, const Message& message, Bytes key_prefix = {}) {
  Put archive(out, key_prefix);
  Message::fields(archive, message);
}

template <typename Message>
size_t bytes_of(const Message& message) {
  std::string out;
  put(out, message);
  return out.size();
}

class Take {
 public:
  // `strings`: the memory for Keys and Pairs.
  explicit Take(Bytes body, std::vector<Bytes>* strings = nullptr)
      : reader_(body), strings_(strings) {}

  bool ok() const { return ok_ && reader_.ok(); }
  // The body is exactly as long as its fields.
  bool is_whole() const { return ok() && reader_.left() == 0; }

  template <Number T>
  void field(const char*, T& value) {
    value = static_cast<T>(number<std::make_unsigned_t<T>>());
  }
  template <Choice T>
  void field(const char*, T& value) {
    const auto number = this->number<decltype(last_of<T>())>();
    ok_ = ok_ && number <= last_of<T>();
    value = static_cast<T>(number);
  }
  template <String T>
  void field(const char*, T& value) {
    value = T(take_string(reader_, T::kBytesMax));
  }
  void field(const char*, Id128& id) {
    const Bytes bytes = reader_.take(id.size());
    if (reader_.ok()) bytes.copy(reinterpret_cast<char*>(id.data()), id.size());
  }
  template <Strings T>
  void field(const char*, T& list) {
    ok_ = ok() && strings_ != nullptr && take_strings(reader_, T::kStringsAnItem, *strings_);
    if (ok_) list.strings = *strings_;
  }
  // A count that the body cannot hold allocates nothing.
  template <typename T, size_t kMax>
  void field(const char* name, List<T, kMax>& list) {
    static const size_t item_bytes_min = bytes_of_item(T());
    list.clear();
    const uint32_t count = reader_.u32();
    ok_ = ok() && count <= kMax && count <= reader_.left() / item_bytes_min;
    if (!ok_) return;
    list.reserve(count);
    while (list.size() < count && ok()) field(name, list.emplace_back());
  }
  // At the end of a body alone.
  template <typename T>
  void field(const char* name, std::optional<T>& value) {
    value.reset();
    if (reader_.left() > 0) field(name, value.emplace());
  }
  template <Record<Take> T>
  void field(const char*, T& record) {
    T::fields(*this, record);
  }

 protected:
  // What is left.
  Bytes rest() const { return rest_of(reader_); }
  void skip_rest() { reader_.take(reader_.left()); }

 private:
  static Bytes rest_of(ByteReader reader) { return reader.take(reader.left()); }
  template <typename T>
  static size_t bytes_of_item(const T& item) {
    std::string out;
    Put(out).field("", item);
    return out.size();
  }
  template <typename T>
  T number() {
    if constexpr (sizeof(T) == 1) return reader_.u8();
    if constexpr (sizeof(T) == 2) return reader_.u16();
    if constexpr (sizeof(T) == 4) return reader_.u32();
    if constexpr (sizeof(T) == 8) return reader_.u64();
  }

  ByteReader reader_;
  std::vector<Bytes>* strings_;
  bool ok_ = true;
};

// Takes a request whose last field is a value that lies elsewhere, or finds out where that would
// begin.
class TakeTail : public Take {
 public:
  TakeTail(Bytes body, Bytes tail, std::vector<Bytes>* strings = nullptr)
      : Take(body, strings), here_(body.size()), tail_(tail) {}

  // In the body, of a value that is cut and ends with it; 0: there is none.
  size_t begin(size_t body_bytes) const { return begin_ + value_bytes_ == body_bytes ? begin_ : 0; }

  void field(const char* name, Value& value) {
    const Bytes left = rest();
    const size_t bytes = left.size() < kLengthBytes ? 0 : load_little_endian<uint32_t>(left.data());
    if (!ok() || bytes + kLengthBytes <= left.size()) return Take::field(name, value);
    begin_ = here_ - left.size() + kLengthBytes;
    value_bytes_ = bytes;
    if (bytes != tail_.size() || begin_ != here_) return Take::field(name, value);
    value = Value(tail_);
    skip_rest();
  }
  // One for all others, since clang lets a template hide those of the base whatever it requires.
  template <typename T>
  void field(const char* name, T& value) {
    if constexpr (Strings<T>) {
      skip_rest();  // no value comes behind them
    } else {
      Take::field(name, value);
    }
  }

 private:
  static constexpr size_t kLengthBytes = sizeof(uint32_t);
  const size_t here_;  // of the body
  const Bytes tail_;
  size_t begin_ = 0;
  size_t value_bytes_ = 0;
};

// False: the body is malformed, cut or longer than its fields, or one of them is above its limit.
template <typename Message>
bool take(Bytes body, Message& message, std::vector<Bytes>* strings = nullptr) {
  Take archive(body, strings);
  Message::fields(archive, message);
  return archive.is_whole();
}

// kNotMine: the frame is no request of this operation, or no answer to one.
template <typename Message>
Progress take_request(const Frame& frame, Message& request) {
  if (frame.header.operation != static_cast<uint8_t>(Message::Is::kOperation))
    return Progress::kNotMine;
  return take(frame.body, request) ? Progress::kTaken : Progress::kMalformed;
}

// In the body of a request that waits, whose timeout comes first.
inline void set_timeout(std::string& body, uint32_t timeout_ms) {
  std::string bytes;
  put_u32(bytes, timeout_ms);
  body.replace(0, bytes.size(), bytes);
}

// The header of an answer.
inline Header reply_to(Header request, ErrorCode status = ErrorCode::kOk) {
  request.operation |= kReplyBit;
  request.status = static_cast<uint8_t>(status);
  return request;
}

// A whole frame; where it begins.
template <typename Message>
size_t put_frame(std::string& out, const Header& header, const Message& message,
                 Bytes key_prefix = {}) {
  const size_t begin = begin_frame(out, header);
  put(out, message, key_prefix);
  end_frame(out, begin);
  return begin;
}

template <typename Message>
size_t put_request(std::string& out, const Message& request, Bytes key_prefix = {}) {
  Header header;
  header.operation = static_cast<uint8_t>(Message::Is::kOperation);
  return put_frame(out, header, request, key_prefix);
}

}  // namespace rdzv::native
