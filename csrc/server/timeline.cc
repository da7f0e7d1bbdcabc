#include "server/timeline.h"

#include <utility>

namespace rdzv {
namespace {

// What is longer is cut.
constexpr size_t kTextBytesMax = 1024;

size_t bytes_of(const Event& event) {
  return sizeof(Event) + heap_bytes(event.node.addr.size()) + heap_bytes(event.text.size());
}

}  // namespace

// Whoever has more than an equal share is found: not all can have less than that while all together
// have too much.
void Timelines::trim() {
  while (account_.used() > bytes_max_) {
    if (hand_ == all_.end()) hand_ = all_.begin();
    Timeline& timeline = **hand_;
    if (timeline.bytes() > bytes_max_ / all_.size()) {
      timeline.drop_oldest();
    } else {
      ++hand_;
    }
  }
}

Timeline::Timeline(Timelines& all)
    : all_(all), place_(all.all_.insert(all.all_.end(), this)), charge_(&all.account_) {}

Timeline::~Timeline() {
  if (all_.hand_ == place_) ++all_.hand_;
  all_.all_.erase(place_);
}

void Timeline::add(Event event) {
  if (event.text.size() > kTextBytesMax) event.text.resize(kTextBytesMax);
  event.serial = ++all_.serial_;
  charge_.resize(charge_.bytes() + bytes_of(event));
  events_.push_back(std::move(event));
  all_.trim();
}

void Timeline::drop_oldest() {
  charge_.resize(charge_.bytes() - bytes_of(events_.front()));
  events_.pop_front();
  ++first_;
}

}  // namespace rdzv
