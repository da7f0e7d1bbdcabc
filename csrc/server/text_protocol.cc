#include "server/text_protocol.h"

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "base/version.h"
#include "server/connection.h"
#include "server/run.h"
#include "server/run_text.h"

namespace rdzv {
namespace {

constexpr size_t kLineBytesMax = 1024;
// More of them are for a program: `rendezvous status`.
constexpr size_t kRunsShown = 200;
constexpr Bytes kBlanks = " \t\r";

constexpr const char* kHelp =
    "status        what is here, and a line for each run\n"
    "status RUN    who is in one run, and who was lost\n"
    "help          these words\n"
    "More is told by: rendezvous status --endpoint HOST:PORT\n";

Bytes trimmed(Bytes text) {
  const size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  const size_t end = text.find_last_not_of(kBlanks);
  return end == Bytes::npos ? Bytes() : text.substr(begin, end + 1 - begin);
}

std::string state_of(const GroupState& state) {
  if (state.closed) return "closed";
  if (state.failed_round != 0) return "failed: too few nodes are left";
  if (state.complete) return "complete with " + counted(state.roster.count(Role::kActive), "node");
  if (!state.settings) return "nobody has joined yet";
  return "forming: " + who_is_there(state, true);
}

std::string line_of(const Run& run) {
  const GroupState& state = run.group().state();
  std::string line =
      "run " + quoted(run.id()) + ": round " + std::to_string(state.round) + ", " + state_of(state);
  const auto more = [&line](const char* what, size_t count) {
    if (count > 0) line += std::string(", ") + what + ": " + std::to_string(count);
  };
  more("waiting", state.roster.count(Role::kWaiting));
  more("spares", state.roster.count(Role::kSpare));
  more("lost", state.lost.size());
  return line + '\n';
}

std::string all_of(const ServerContext& context) {
  const ServerContext::Census census = context.census();
  std::string text = std::string("rendezvous ") + kVersion + '\n';
  const auto add = [&text](const char* what, size_t count) {
    text += std::string(what) + ": " + std::to_string(count) + '\n';
  };
  add("connections", census.connections);
  add("keys", census.keys);
  add("stored bytes", census.stored_bytes);
  std::vector<const Run*> runs;
  context.runs.for_each([&](const Run& run) { runs.push_back(&run); });
  add("runs", runs.size());
  const size_t shown = std::min(runs.size(), kRunsShown);
  const auto by_id = [](const Run* a, const Run* b) { return a->id() < b->id(); };
  std::ranges::partial_sort(runs, runs.begin() + static_cast<ptrdiff_t>(shown), by_id);
  for (size_t i = 0; i < shown; ++i) text += line_of(*runs[i]);
  if (shown < runs.size()) text += "and " + std::to_string(runs.size() - shown) + " more\n";
  return text;
}

std::string one_of(Bytes id, const ServerContext& context) {
  const Run* run = context.runs.find(id);
  if (run == nullptr || !run->is_held()) {
    return "there is no run " + quoted(id) + "; \"status\" lists those that there are\n";
  }
  const GroupState& state = run->group().state();
  return line_of(*run) + "nodes: " + names_of_who_is_there(state, !state.complete) + '\n';
}

// One line, and then it is over.
class TextProtocol final : public Protocol {
 public:
  TextProtocol(Connection& connection, ServerContext& context)
      : Protocol(connection), context_(context) {}

  size_t consume(Bytes input, Bytes) override {
    if (is_answered_) return input.size();
    const size_t end = input.find('\n');
    if (end == Bytes::npos && input.size() <= kLineBytesMax) return 0;
    if (end == Bytes::npos) {
      connection().close("it sent a line of text that does not end");
      return 0;
    }
    is_answered_ = true;
    context_.expire();
    const std::string answer = text_answer(input.substr(0, end), context_);
    context_.budget.spend(Budget::kRequest + answer.size() / Budget::kBytesAUnit +
                          context_.runs.size() * Budget::kKey);
    context_.budget.count_request();
    connection().append(answer);
    connection().reply_ready();
    connection().finish();
    return input.size();
  }

  bool is_in_request() const override { return false; }
  size_t missing() const override { return 1; }
  bool greeted() const override { return is_answered_; }
  bool leave(Budget&) override { return true; }

 private:
  ServerContext& context_;
  bool is_answered_ = false;
};

}  // namespace

std::string text_answer(Bytes line, const ServerContext& context) {
  const Bytes words = trimmed(line);
  const size_t end = std::min(words.find_first_of(kBlanks), words.size());
  const Bytes word = words.substr(0, end);
  const Bytes rest = trimmed(words.substr(end));
  if (word == "status") return rest.empty() ? all_of(context) : one_of(rest, context);
  if (word == "help") return kHelp;
  return "unknown word " + quoted(word) + "; there are:\n" + kHelp;
}

std::unique_ptr<Protocol> make_text_protocol(Connection& connection, ServerContext& context) {
  return std::make_unique<TextProtocol>(connection, context);
}

}  // namespace rdzv
