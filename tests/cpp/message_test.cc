// What holds for every message of the native protocol, tested for all of them from the one list of
// operations: a body comes back as it went, one that is cut or too long is malformed, each field
// keeps its limit.
#include "wire/messages.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "support.h"

using namespace rdzv;
using namespace rdzv::test;
using native::Progress;

namespace {

Bytes text_of(size_t bytes) {
  static const std::string longest(limits::kValueBytesMax + 1, 'x');
  return Bytes(longest).substr(0, bytes);
}

// Gives every field a value of its own, and the string whose turn it is a length of its own.
class Fill {
 public:
  static constexpr size_t kNone = SIZE_MAX;

  // `beyond`: by how many bytes the string with that number is longer than its limit.
  explicit Fill(size_t at = kNone, size_t beyond = 0) : at_(at), beyond_(beyond) {}
  size_t strings() const { return strings_; }

  template <native::Number T>
  void field(const char*, T& value) {
    value = static_cast<T>(0x8182838485868788U + ++numbers_);
  }
  template <native::Choice T>
  void field(const char*, T& value) {
    value = static_cast<T>(native::last_of<T>());
  }
  template <native::String T>
  void field(const char*, T& value) {
    value = text_of(length(T::kBytesMax));
  }
  void field(const char*, native::Id128& id) { id.fill(static_cast<uint8_t>(++numbers_)); }
  template <native::Strings T>
  void field(const char*, T& list) {
    for (size_t i = 0; i < 2 * T::kStringsAnItem; ++i) {
      const bool is_key = i % T::kStringsAnItem == 0;
      const size_t max = is_key ? native::Key::kBytesMax : native::Value::kBytesMax;
      items_.push_back(text_of(length(max)));
    }
    list.strings = items_;
  }
  template <typename T, size_t kMax>
  void field(const char* name, native::List<T, kMax>& list) {
    for (int i = 0; i < 3; ++i) field(name, list.emplace_back());
  }
  template <typename T>
  void field(const char* name, std::optional<T>& value) {
    field(name, value.emplace());
  }
  template <native::Record<Fill> T>
  void field(const char*, T& record) {
    T::fields(*this, record);
  }

 private:
  size_t length(size_t max) {
    const bool is_its_turn = strings_++ == at_;
    return is_its_turn ? max + beyond_ : 1 + strings_ % 5;
  }

  size_t at_;
  size_t beyond_;
  size_t strings_ = 0;
  size_t numbers_ = 0;
  std::vector<Bytes> items_;
};

// Where in a body a flag or an enumeration is, and where a count.
class Places : public native::Put {
 public:
  struct Choice {
    size_t at;
    size_t bytes;
    uint64_t last;
  };
  explicit Places(std::string& out) : Put(out) {}
  std::vector<Choice> choices;
  std::vector<size_t> counts;

  // One for all, since clang lets a template hide those of the base whatever it requires.
  template <typename T>
  void field(const char* name, const T& value) {
    if constexpr (native::Choice<T>) {
      const auto last = native::last_of<T>();
      choices.push_back({out_.size(), sizeof(last), static_cast<uint64_t>(last)});
      Put::field(name, value);
    } else if constexpr (native::Strings<T>) {
      counts.push_back(out_.size());
      Put::field(name, value);
    } else if constexpr (native::Record<T, Places>) {
      T::fields(*this, value);
    } else {
      Put::field(name, value);
    }
  }
  template <typename T, size_t kMax>
  void field(const char* name, const native::List<T, kMax>& list) {
    counts.push_back(out_.size());
    native::put_u32(out_, static_cast<uint32_t>(list.size()));
    for (const T& item : list) field(name, item);
  }
  template <typename T>
  void field(const char* name, const std::optional<T>& value) {
    if (value) field(name, *value);
  }
};

// The body after it was taken and put again, from memory of exactly its size; or why not.
template <typename Message>
std::string again(Bytes body) {
  Exact exact(body);
  std::vector<Bytes> strings;
  Message message;
  if (!native::take(exact.view(), message, &strings)) return "malformed";
  std::string out;
  native::put(out, message);
  return out;
}

template <typename Message>
bool takes(Bytes body) {
  std::vector<Bytes> strings;
  Message message;
  return native::take(body, message, &strings);
}

template <typename Message>
std::string filled(size_t at = Fill::kNone, size_t beyond = 0) {
  Fill fill(at, beyond);
  Message message;
  Message::fields(fill, message);
  std::string out;
  native::put(out, message);
  return out;
}

template <typename Message>
size_t strings_of() {
  Fill fill;
  Message message;
  Message::fields(fill, message);
  return fill.strings();
}

struct Found {
  std::string body;
  std::vector<Places::Choice> choices;
  std::vector<size_t> counts;
};

template <typename Message>
Found places_of() {
  Fill fill;
  Message message;
  Message::fields(fill, message);
  std::string body;
  Places places(body);
  Message::fields(places, message);
  return {body, places.choices, places.counts};
}

// What the tests ask of a message, for all kinds of messages in one list: a check that is compiled
// for each of them costs the compiler minutes.
struct Kind {
  std::string name;
  std::string (*again)(Bytes body);
  bool (*takes)(Bytes body);
  std::string (*filled)(size_t at, size_t beyond);
  size_t (*strings)();
  Found (*places)();
  // What may be missing at the end is whole without it, too.
  bool may_end_early = false;
};

template <typename Message>
Kind kind(const std::string& name) {
  return {name,
          again<Message>,
          takes<Message>,
          filled<Message>,
          strings_of<Message>,
          places_of<Message>,
          std::is_same_v<Message, native::ErrorReply>};
}

// Requests, answers, and what else has a body.
const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = [] {
    std::vector<Kind> list;
    native::for_each_request([&]<typename Message>(Message*) {
      list.push_back(kind<Message>(Message::Is::kName));
      list.push_back(kind<typename Message::Is::Reply>(std::string(Message::Is::kName) + " reply"));
    });
    list.push_back(kind<native::ErrorReply>("error reply"));
    list.push_back(kind<native::RunNode>("node"));
    list.push_back(kind<native::RunSettings>("settings"));
    return list;
  }();
  return all;
}

// What is said of a frame that is cut, of the whole one, and of its body: as it is, with a byte too
// many, as an answer's, and as an unknown operation's.
template <typename Message>
std::vector<Progress> progress_of_frames() {
  std::string out;
  native::put_request(out, Message());
  native::Frame frame;
  std::vector<Progress> seen = {native::next_frame(Bytes(out).substr(0, out.size() - 1), frame),
                                native::next_frame(out, frame)};
  Message message;
  seen.push_back(native::take_request(frame, message));
  const std::string longer = std::string(frame.body) + "x";
  frame.body = longer;
  seen.push_back(native::take_request(frame, message));
  frame.header.operation |= native::kReplyBit;
  seen.push_back(native::take_request(frame, message));
  frame.header.operation = UINT8_MAX;
  seen.push_back(native::take_request(frame, message));
  return seen;
}

std::string with_number(std::string body, size_t at, size_t bytes, uint64_t number) {
  return body.replace(at, bytes, Fields().number(number, bytes).bytes);
}

}  // namespace

TEST_CASE("every message comes back as it went") {
  for (const Kind& message : kinds()) {
    CAPTURE(message.name);
    const std::string body = message.filled(Fill::kNone, 0);
    CHECK(message.again(body) == body);
  }
}

TEST_CASE("every message that is cut, or has bytes left over, is malformed") {
  for (const Kind& message : kinds()) {
    CAPTURE(message.name);
    const std::string body = message.filled(Fill::kNone, 0);
    size_t whole = 0;
    for (size_t size = 0; size < body.size(); ++size) {
      if (message.again(Bytes(body).substr(0, size)) != "malformed") ++whole;
    }
    CHECK(whole == (message.may_end_early ? 1 : 0));
    CHECK(message.again(body + "x") == "malformed");
    CHECK(message.again(body + std::string(1, '\0')) == "malformed");
  }
}

TEST_CASE("every string is taken up to its limit, and no longer one") {
  for (const Kind& message : kinds()) {
    CAPTURE(message.name);
    for (size_t i = 0; i < message.strings(); ++i) {
      CAPTURE(i);
      CHECK(message.takes(message.filled(i, 0)));
      CHECK_FALSE(message.takes(message.filled(i, 1)));
    }
  }
}

TEST_CASE("a flag or a kind that does not exist is malformed") {
  size_t choices = 0;
  for (const Kind& message : kinds()) {
    CAPTURE(message.name);
    const Found found = message.places();
    REQUIRE(found.body == message.filled(Fill::kNone, 0));
    for (const Places::Choice& choice : found.choices) {
      ++choices;
      auto with = [&](uint64_t number) {
        return with_number(found.body, choice.at, choice.bytes, number);
      };
      CHECK(message.takes(with(choice.last)));
      CHECK_FALSE(message.takes(with(choice.last + 1)));
      CHECK_FALSE(message.takes(with(UINT64_MAX)));
    }
  }
  CHECK(choices > 15);
}

TEST_CASE("a count that the body cannot hold is malformed") {
  size_t counts = 0;
  for (const Kind& message : kinds()) {
    CAPTURE(message.name);
    const Found found = message.places();
    for (size_t at : found.counts) {
      ++counts;
      for (uint64_t count :
           {uint64_t{4}, uint64_t{1} << 20, uint64_t{1} << 31, uint64_t{UINT32_MAX}})
        CHECK_FALSE(message.takes(with_number(found.body, at, 4, count)));
    }
  }
  CHECK(counts >= 8);
}

TEST_CASE("a frame of another operation is not mine, and a malformed one is") {
  const std::vector<Progress> expected = {Progress::kNeedMore, Progress::kTaken,
                                          Progress::kTaken,    Progress::kMalformed,
                                          Progress::kNotMine,  Progress::kNotMine};
  std::vector<std::string> wrong;
  native::for_each_request([&]<typename Message>(Message*) {
    if constexpr (!requires(Message m) { m.keys; } && !requires(Message m) { m.pairs; }) {
      if (progress_of_frames<Message>() != expected) wrong.push_back(Message::Is::kName);
    }
  });
  CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("operations stand in the list by their code, which no other has") {
  int code = 0;
  native::for_each_request([&]<typename Message>(Message*) {
    CHECK(static_cast<int>(Message::Is::kOperation) == ++code);
  });
  CHECK(code == native::kOperationMax);
}

TEST_CASE("a request that waits begins with its timeout") {
  native::for_each_request([]<typename Message>(Message*) {
    if constexpr (requires(Message m) { m.timeout_ms; }) {
      CAPTURE(Message::Is::kName);
      std::string body = filled<Message>();
      native::set_timeout(body, 4711);
      Message message;
      std::vector<Bytes> strings;
      REQUIRE(native::take(body, message, &strings));
      CHECK(message.timeout_ms == 4711);
    }
  });
}

TEST_CASE("a prefix goes before every key, and before nothing else") {
  std::string out;
  native::put(out, native::SetRequest{"k", "v"}, native::kUsersPrefix);
  CHECK(out == Fields().string32("/k").string32("v").bytes);
  const std::vector<Bytes> pairs = {"a", "1", "b", "2"};
  out.clear();
  native::put(out, native::MultiSetRequest{{pairs}}, native::kUsersPrefix);
  CHECK(out == Fields().u32(2).string32("/a").string32("1").string32("/b").string32("2").bytes);
}
