#include "server/departures.h"

#include <utility>

#include "server/connection.h"

namespace rdzv {

Departures::Departures(Chores& chores) : chores_(chores) {}

Departures::~Departures() = default;

void Departures::add(std::unique_ptr<Connection> connection) {
  any_new_ = true;
  if (connection->has_left()) {
    gone_.push_back(std::move(connection));
    return;
  }
  leaving_.push_back(std::move(connection));
  chores_.begin(*this);
}

bool Departures::work(Budget& budget) {
  while (!leaving_.empty() && !budget.is_spent()) {
    if (!leaving_.front()->leave(budget)) return false;
    any_new_ = true;
    gone_.push_back(std::move(leaving_.front()));
    leaving_.pop_front();
  }
  return leaving_.empty();
}

void Departures::forget() {
  any_new_ = false;
  // Going, one may close another: that one's turn is the next.
  const auto going = std::exchange(gone_, {});
}

}  // namespace rdzv
