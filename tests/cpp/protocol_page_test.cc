// docs/protocol.md says what the code does.
#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "describe.h"
#include "wire/messages.h"

using namespace rdzv;
using namespace rdzv::test;

namespace {

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
            Describe::text<native::RunSettings>() + "; `facts` are " +
            Describe::text<native::RunFacts>() + ".",
        "has the body " + Describe::text<native::ErrorReply>() + ":"}) {
    CHECK_MESSAGE(page().find(sentence) != std::string::npos, sentence);
  }
}
