// Answers of a channel that were due when somebody woke those who wait for them, and that there was
// no budget for: they are made in later turns, in their order.
#pragma once

#include <deque>
#include <memory>
#include <utility>

#include "server/chores.h"
#include "server/connection.h"
#include "server/long_request.h"

namespace rdzv {

class LateAnswers final : public Chore {
 public:
  explicit LateAnswers(const Connection& connection) : connection_(connection) {}

  size_t size() const { return answers_.size(); }
  void push(std::unique_ptr<LongRequest> answer) { answers_.push_back(std::move(answer)); }

  bool work(Budget& budget) override {
    while (!answers_.empty() && !connection_.closed()) {
      if (budget.is_spent() || !answers_.front()->go_on(budget)) return false;
      budget.spend(Budget::kWake);
      answers_.pop_front();
    }
    return true;
  }

 private:
  const Connection& connection_;
  std::deque<std::unique_ptr<LongRequest>> answers_;
};

}  // namespace rdzv
