#include "server/spaces.h"

#include <string>
#include <utility>

#include "server/commons.h"
#include "server/context.h"
#include "tls/token.h"

namespace rdzv {
namespace {

// Most have one job's keys, and there may be many of them.
constexpr size_t kKeysAtFirst = size_t{1} << 18;

}  // namespace

Spaces::Spaces(ServerCommons& commons)
    : commons_(commons),
      home_(std::make_unique<ServerContext>(commons, tls::kDefaultSpace, kKeysAtFirst, 0)),
      nowhere_(std::make_unique<ServerContext>(commons, Bytes(), 0, 0)),
      others_(0, BytesHash{commons.seed}) {
  home_->is_active = true;
  make_room();
}

Spaces::~Spaces() = default;

// For one more, and for those that are nowhere.
void Spaces::make_room() {
  const size_t most = others_.size() + 2;
  for (std::vector<ServerContext*>* list : {&active_, &looked_at_}) {
    if (list->capacity() < most) list->reserve(2 * most);
  }
}

SpaceLimits Spaces::limits_of(Bytes name) const {
  const auto found = quotas_.find(name);
  return {commons_.limits, found == quotas_.end() ? tls::Quota() : found->second};
}

void Spaces::set_quotas(const tls::Quotas& quotas) {
  quotas_ = quotas;
  for_each([this](ServerContext& each) { each.own_limits = limits_of(each.space); });
}

ServerContext* Spaces::enter(Bytes name) {
  if (name == tls::kDefaultSpace) return home_.get();
  const auto found = others_.find(name);
  if (found != others_.end()) return found->second.get();
  if (size() >= commons_.limits.spaces) return nullptr;
  make_room();
  // So no version in one that comes again was there in one of that name that has gone, and none
  // tells what went on in others.
  const auto behind = static_cast<uint64_t>(commons_.clock.now.time_since_epoch().count());
  auto made = std::make_unique<ServerContext>(commons_, name, 0, behind);
  return others_.emplace(std::string(name), std::move(made)).first->second.get();
}

void Spaces::begin_end_of_turn() {
  commons_.memory.keys_to_expire = ServerMemory::kKeysExpiredATurn;
  home_->upkeep.end_turn();
  for (ServerContext* context : active_) context->upkeep.end_turn();
}

bool Spaces::end_turn() {
  home_->trim();
  bool more = home_->upkeep.is_overdue();
  active_.swap(looked_at_);
  for (ServerContext* context : looked_at_) {
    context->trim();
    context->is_active = false;
    if (context->is_unused() && context != nowhere_.get()) {
      others_.erase(others_.find(Bytes(context->space)));
    } else if (context->upkeep.is_overdue()) {
      context->note_active();
      more = true;
    }
  }
  looked_at_.clear();
  return more;
}

}  // namespace rdzv
