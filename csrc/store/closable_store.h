// A user's hold on a store in memory, in a file, or below a prefix, which close() ends: later calls
// throw kClosed, those that wait end within kInterruptSlice, and the store goes (its descriptors,
// its memory) with the last call that is in it. A TCPStore closes itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/call_scope.h"
#include "store/forwarding_store.h"

namespace rdzv {

class ClosableStore : public ForwardingStore<ClosableStore> {
 public:
  template <typename Operation, typename... Arguments>
  auto on(Operation operation, const Arguments&... arguments) {
    const Visit visit(*this);
    return std::invoke(operation, *store_, arguments...);
  }

  using Store::clone;
  std::shared_ptr<Store> clone(Duration timeout) override;
  // May be called again.
  void close() override;
  std::string describe() const override { return name_; }
  Duration timeout() const override;
  void set_timeout(Duration timeout) override;

 protected:
  explicit ClosableStore(std::shared_ptr<Store> store);

  // Another hold of the same kind, on a clone of the store.
  virtual std::shared_ptr<Store> hold(std::shared_ptr<Store> clone) = 0;

 private:
  // One call in the store. Throws kClosed where there is none any more.
  class Visit {
   public:
    explicit Visit(const ClosableStore& hold);
    ~Visit() { hold_.leave(); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    const ClosableStore& hold_;
    const CallScope scope_;
  };

  void leave() const;

  const std::string name_;
  std::atomic<bool> closed_{false};
  // Calls in the store, twice, and 1 once it is closed: whoever brings it to 1 lets go of it.
  mutable std::atomic<uint64_t> visits_{0};
  mutable std::atomic<bool> gone_{false};
  mutable std::shared_ptr<Store> store_;
};

}  // namespace rdzv
