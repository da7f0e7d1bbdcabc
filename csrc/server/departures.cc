#include "server/departures.h"

#include <utility>

#include "server/connection.h"

namespace rdzv {

Departures::Departures(Chores& chores) : chores_(chores) {}

// One by one: a chain of very many would go to pieces on the stack.
Departures::~Departures() {
  while (leaving_ != nullptr) leaving_ = std::move(leaving_->next_gone);
  forget();
}

void Departures::add(std::unique_ptr<Connection> connection) noexcept {
  any_new_ = true;
  std::unique_ptr<Connection>& list = connection->has_left() ? gone_ : leaving_;
  connection->next_gone = std::move(list);
  list = std::move(connection);
  if (leaving_ != nullptr) chores_.begin(*this);
}

bool Departures::work(Budget& budget) {
  while (leaving_ != nullptr && !budget.is_spent()) {
    if (!leaving_->leave(budget)) return false;
    any_new_ = true;
    std::unique_ptr<Connection> left = std::move(leaving_);
    leaving_ = std::move(left->next_gone);
    left->next_gone = std::move(gone_);
    gone_ = std::move(left);
  }
  return leaving_ == nullptr;
}

void Departures::forget() {
  any_new_ = false;
  // Going, one may close another: that one's turn is the next.
  for (auto going = std::exchange(gone_, nullptr); going != nullptr;)
    going = std::move(going->next_gone);
}

}  // namespace rdzv
