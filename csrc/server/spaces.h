// The name spaces of one server. Each has its own keys, queues, runs, waits, and addresses from
// which it was greeted (context.h); a connection is in one, and knows no other. The default one is
// there all along; any other is made when somebody comes who may be in it, and goes when nobody is
// in it and nothing is kept there. One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "server/space_limits.h"
#include "tls/quota.h"

namespace rdzv {

struct ServerCommons;
struct ServerContext;

class Spaces {
 public:
  explicit Spaces(ServerCommons& commons);
  ~Spaces();
  Spaces(const Spaces&) = delete;
  Spaces& operator=(const Spaces&) = delete;

  ServerContext& home() { return *home_; }
  // The name space of that name. Null: it would be one too many.
  // Throws std::bad_alloc, and nothing has changed.
  ServerContext* enter(Bytes name);
  // Where nobody is served: for who belongs to one that there is no room for.
  ServerContext& nowhere() { return *nowhere_; }
  size_t size() const { return 1 + others_.size(); }

  // What each may use: as the token file says, or else as the server's limits do.
  SpaceLimits limits_of(Bytes name) const;
  // What the file says from now on. What is there beyond it stays.
  void set_quotas(const tls::Quotas& quotas);
  // One was refused something for what it may use: the file may say more by now. Whether that has
  // happened since somebody looked.
  void miss_quota() { is_quota_missed_ = true; }
  bool take_quota_missed() { return std::exchange(is_quota_missed_, false); }

  // visit(context) of each, the default one first.
  template <typename Visit>
  void for_each(Visit&& visit) {
    visit(*home_);
    for (const auto& [name, context] : others_) visit(*context);
  }

  // Something is going on there: it is looked at when the turn ends. Allocates nothing, as those who
  // go say so, too.
  void note_active(ServerContext& context) { active_.push_back(&context); }
  // Those in which something went on, before and after all else that the end of a turn does. The
  // second one is true if there is more to do.
  void begin_end_of_turn();
  bool end_turn();

 private:
  void make_room();

  ServerCommons& commons_;
  tls::Quotas quotas_;
  bool is_quota_missed_ = false;
  std::unique_ptr<ServerContext> home_;
  std::unique_ptr<ServerContext> nowhere_;
  BytesMap<std::unique_ptr<ServerContext>> others_;
  // Without the default one, which always is; and those that are looked at. Each has room for all.
  std::vector<ServerContext*> active_;
  std::vector<ServerContext*> looked_at_;
};

}  // namespace rdzv
