// What holds for every message of the native protocol, tested for all of them from the one list of
// operations: a body comes back as it went, one that is cut or too long is malformed, each field
// keeps its limit, and docs/protocol.md says what the code does.
#include "wire/messages.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "describe.h"
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

// Requests, answers, and what else has a body.
template <typename Visit>
void for_each_message(Visit&& visit) {
  native::for_each_request([&]<typename Message>(Message* none) {
    CAPTURE(Message::Is::kName);
    visit(none);
    visit(static_cast<typename Message::Is::Reply*>(nullptr));
  });
  visit(static_cast<native::ErrorReply*>(nullptr));
  visit(static_cast<native::RunNode*>(nullptr));
  visit(static_cast<native::RunSettings*>(nullptr));
}

std::string with_number(std::string body, size_t at, size_t bytes, uint64_t number) {
  return body.replace(at, bytes, Fields().number(number, bytes).bytes);
}

// The page, with one space between words.
const std::string& page() {
  static const std::string words = [] {
    std::ifstream file(RDZV_PROTOCOL_PAGE);
    std::string all;
    std::string line;
    while (std::getline(file, line)) all += line + (line.starts_with("|") ? "\n" : " ");
    return all;
  }();
  return words;
}

std::vector<std::string> rows_of_operations() {
  std::vector<std::string> rows;
  std::istringstream lines(page());
  std::string line;
  // "| 3 | SET | ..."
  while (std::getline(lines, line)) {
    const size_t name = line.find(" | ", 1);
    if (line.starts_with("| ") && std::isdigit(static_cast<unsigned char>(line[2])) != 0 &&
        name != std::string::npos &&
        std::isupper(static_cast<unsigned char>(line[name + 3])) != 0 &&
        std::count(line.begin(), line.end(), '|') == 5)
      rows.push_back(line);
  }
  return rows;
}

}  // namespace

TEST_CASE("every message comes back as it went") {
  for_each_message([]<typename Message>(Message*) {
    const std::string body = filled<Message>();
    CHECK(again<Message>(body) == body);
  });
}

TEST_CASE("every message that is cut, or has bytes left over, is malformed") {
  for_each_message([]<typename Message>(Message*) {
    const std::string body = filled<Message>();
    // What may be missing at the end is whole without it, too.
    constexpr bool may_end_early = std::is_same_v<Message, native::ErrorReply>;
    size_t whole = 0;
    for (size_t size = 0; size < body.size(); ++size) {
      if (again<Message>(Bytes(body).substr(0, size)) != "malformed") ++whole;
    }
    CHECK(whole == (may_end_early ? 1 : 0));
    CHECK(again<Message>(body + "x") == "malformed");
    CHECK(again<Message>(body + std::string(1, '\0')) == "malformed");
  });
}

TEST_CASE("every string is taken up to its limit, and no longer one") {
  for_each_message([]<typename Message>(Message*) {
    Fill fill;
    Message message;
    Message::fields(fill, message);
    for (size_t i = 0; i < fill.strings(); ++i) {
      CAPTURE(i);
      CHECK(takes<Message>(filled<Message>(i, 0)));
      CHECK_FALSE(takes<Message>(filled<Message>(i, 1)));
    }
  });
}

TEST_CASE("a flag or a kind that does not exist is malformed") {
  size_t choices = 0;
  for_each_message([&]<typename Message>(Message*) {
    Fill fill;
    Message message;
    Message::fields(fill, message);
    std::string body;
    Places places(body);
    Message::fields(places, message);
    REQUIRE(body == filled<Message>());
    for (const Places::Choice& choice : places.choices) {
      ++choices;
      CHECK(takes<Message>(with_number(body, choice.at, choice.bytes, choice.last)));
      CHECK_FALSE(takes<Message>(with_number(body, choice.at, choice.bytes, choice.last + 1)));
      CHECK_FALSE(takes<Message>(with_number(body, choice.at, choice.bytes, UINT64_MAX)));
    }
  });
  CHECK(choices > 15);
}

TEST_CASE("a count that the body cannot hold is malformed") {
  size_t counts = 0;
  for_each_message([&]<typename Message>(Message*) {
    Fill fill;
    Message message;
    Message::fields(fill, message);
    std::string body;
    Places places(body);
    Message::fields(places, message);
    for (size_t at : places.counts) {
      ++counts;
      for (uint64_t count :
           {uint64_t{4}, uint64_t{1} << 20, uint64_t{1} << 31, uint64_t{UINT32_MAX}})
        CHECK_FALSE(takes<Message>(with_number(body, at, 4, count)));
    }
  });
  CHECK(counts >= 8);
}

TEST_CASE("a frame of another operation is not mine, and a malformed one is") {
  native::for_each_request([]<typename Message>(Message*) {
    CAPTURE(Message::Is::kName);
    if constexpr (!requires(Message m) { m.keys; } && !requires(Message m) { m.pairs; }) {
      std::string out;
      native::put_request(out, Message());
      native::Frame frame;
      CHECK(native::next_frame(Bytes(out).substr(0, out.size() - 1), frame) == Progress::kNeedMore);
      REQUIRE(native::next_frame(out, frame) == Progress::kTaken);
      Message message;
      CHECK(native::take_request(frame, message) == Progress::kTaken);
      const std::string longer = std::string(frame.body) + "x";
      frame.body = longer;
      CHECK(native::take_request(frame, message) == Progress::kMalformed);
      frame.header.operation |= native::kReplyBit;
      CHECK(native::take_request(frame, message) == Progress::kNotMine);
      frame.header.operation = UINT8_MAX;
      CHECK(native::take_request(frame, message) == Progress::kNotMine);
    }
  });
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

TEST_CASE("docs/protocol.md has a row for each operation, which says what the code does") {
  const std::vector<std::string> rows = rows_of_operations();
  size_t row = 0;
  native::for_each_request([&]<typename Message>(Message*) {
    using Reply = typename Message::Is::Reply;
    std::string name = Message::Is::kName;
    for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    auto cell = [](const std::string& text) { return text.empty() ? " |" : " " + text + " |"; };
    std::string expected =
        "| " + std::to_string(static_cast<int>(Message::Is::kOperation)) + " | " + name + " |";
    expected += cell(Describe::text<Message>());
    expected += cell(std::is_same_v<Reply, native::NoReply> ? "none" : Describe::text<Reply>());
    REQUIRE(row < rows.size());
    CHECK(rows[row++] == expected);
  });
  CHECK(row == rows.size());
}

TEST_CASE("docs/protocol.md says what nodes, settings and errors are made of") {
  for (const std::string& sentence :
       {"A `node` is " + Describe::text<native::RunNode>() + "; `settings` are " +
            Describe::text<native::RunSettings>() + ".",
        "has the body " + Describe::text<native::ErrorReply>() + ":"}) {
    CHECK_MESSAGE(page().find(sentence) != std::string::npos, sentence);
  }
}
