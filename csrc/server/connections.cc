#include "server/connections.h"

#include <algorithm>
#include <utility>

#include "server/commons.h"
#include "server/connection.h"

namespace rdzv {

Connections::Connections(ServerCommons& commons)
    : greetings(commons), departures(commons.chores), budget_(commons.budget) {}

Connections::~Connections() {
  while (!open.empty()) open.back()->close("");
}

void Connections::go_on() {
  const size_t spent = go_on(unserved, Budget::kTurn);
  go_on(put_off, std::max<size_t>(Budget::kTurn - std::min(spent, Budget::kTurn), 1));
}

// Returns what they spent.
size_t Connections::go_on(std::deque<Connection*>& those, size_t units) {
  // Once around at most, for those who are put off again.
  size_t count = those.size();
  size_t spent = 0;
  for (; count > 0 && spent < units; --count) {
    Connection* next = those.front();
    those.pop_front();
    next->guarded([next] { next->go_on(); });
    spent += budget_.spent();
  }
  return spent;
}

// In batches too, for newcomers' sake: one set may have answered thousands. And what is large leaves
// in parts, behind what is not: the kernel copies it, and takes megabytes at a time.
bool Connections::flush_some() {
  constexpr size_t kBatch = 256;
  constexpr size_t kLittle = 4 * 1024;
  constexpr size_t kBytesAtOnce = 256 * 1024;
  constexpr size_t kBytes = 1024 * 1024;
  const size_t count = std::min(unsent.size(), kBatch);
  size_t bytes = 0;
  // By index: flushing can let a stalled connection go on, which may have more to send.
  const auto flush = [&](size_t i) {
    Connection* connection = std::exchange(unsent[i], nullptr);
    size_t most = kBytesAtOnce;
    connection->guarded([&] { connection->flush(most); });
    bytes += kBytesAtOnce - most;
  };
  for (size_t i = 0; i < count; ++i) {
    if (unsent[i]->unsent() <= kLittle) flush(i);
  }
  for (size_t i = 0; i < count && bytes < kBytes; ++i) {
    if (unsent[i] != nullptr) flush(i);
  }
  const auto end = unsent.begin() + static_cast<std::ptrdiff_t>(count);
  unsent.erase(std::remove(unsent.begin(), end, nullptr), end);
  return !unsent.empty();
}

void Connections::forget_closed() {
  if (!departures.any_new()) return;
  const auto is_closed = [](const Connection* connection) { return connection->closed(); };
  std::erase_if(unsent, is_closed);
  std::erase_if(put_off, is_closed);
  std::erase_if(unserved, is_closed);
  departures.forget();
}

}  // namespace rdzv
