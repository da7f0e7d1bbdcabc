#include "server/departures.h"

#include <utility>

#include "server/connection.h"

namespace rdzv {

Departures::Departures(EventLoop& loop, Chores& chores) : loop_(loop), chores_(chores) {}

Departures::~Departures() = default;

void Departures::add(std::unique_ptr<Connection> connection) {
  if (connection->has_left()) {
    loop_.retire(std::move(connection));
    return;
  }
  leaving_.push_back(std::move(connection));
  chores_.begin(*this);
}

bool Departures::work(Budget& budget) {
  while (!leaving_.empty() && !budget.is_spent()) {
    if (!leaving_.front()->leave(budget)) return false;
    loop_.retire(std::move(leaving_.front()));
    leaving_.pop_front();
  }
  return leaving_.empty();
}

}  // namespace rdzv
