#include "server/greetings.h"

#include <string>

#include "base/log.h"
#include "base/text.h"
#include "server/commons.h"
#include "server/connection.h"

namespace rdzv {

Greetings::Place Greetings::await(Connection& connection) {
  const Instant until = commons_.clock.now + std::chrono::milliseconds(commons_.limits.greeting_ms);
  const Place place = awaited_.insert(awaited_.end(), {&connection, until});
  if (timer_) return place;
  try {
    arm();
  } catch (...) {
    awaited_.erase(place);
    throw;
  }
  return place;
}

// The timer stays when the one that it is for has greeted: it finds nothing to do then.
void Greetings::arm() {
  timer_ = commons_.clock.timers.call_at(awaited_.front().until, [this] { on_time(); });
}

void Greetings::on_time() {
  timer_.reset();
  const Instant current = commons_.clock.now;
  size_t closed = 0;
  std::string first;
  while (!awaited_.empty() && awaited_.front().until <= current) {
    Connection& connection = *awaited_.front().connection;
    if (closed++ == 0) first = connection.peer();
    connection.close("");
  }
  if (closed > 0) {
    // One line for all: whoever opens many such connections shall not fill the log.
    log(LogLevel::kWarning,
        commons_.name + ": closed " + std::to_string(closed) +
            " connection(s) that sent neither HELLO nor VALIDATE within " +
            seconds_text(std::chrono::milliseconds(commons_.limits.greeting_ms)) +
            ", the first from " + first);
  }
  if (!awaited_.empty()) arm();
}

}  // namespace rdzv
