// The table against a plain model: the same random operations, the same results, waiters included.
#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "store/table.h"

using namespace rdzv;

namespace {

struct ModelWait {
  int owner;
  Table::Need need;
  uint64_t known;  // kChange
  std::vector<std::string> keys;
};

class Comparison {
 public:
  explicit Comparison(uint32_t seed) : random_(seed) {}
  ~Comparison() {
    for (Table::WaiterOwner& owner : owners_) table_.drop(owner);
  }

  void step() {
    switch (random_() % 19) {
      case 0:
      case 1:
        return set(key(), number_or_word());
      case 2:
        return append();
      case 3:
      case 4:
        return add();
      case 5:
        return compare_set();
      case 6:
      case 7:
        return erase();
      case 8:
        return multi_set();
      case 9:
      case 10:
        return wait();
      case 11:
      case 12:
        return push();
      case 13:
        return pop();
      case 14:
        return set_for();
      case 15:
        return expire();
      case 16:
        return set_if_version();
      case 17:
        return random_() % 3 == 0 ? erase_prefix() : set_for();
      default:
        return random_() % 4 == 0 ? drop() : cancel();
    }
  }

  void compare() {
    std::set<uint64_t> expected;
    for (auto wait = waits_.begin(); wait != waits_.end();) {
      bool ready = is_ready(wait->second);
      if (ready) expected.insert(wait->first);
      wait = ready ? waits_.erase(wait) : std::next(wait);
    }
    std::set<uint64_t> woken;
    for (const Table::Woken& one : table_.take_woken()) REQUIRE(woken.insert(one.tag).second);
    REQUIRE(woken == expected);
    for (uint64_t tag : woken) parked_.erase(tag);
    REQUIRE(table_.waiters() == waits_.size());
    REQUIRE(table_.size() == model_.size());
    for (const auto& [name, value] : model_) REQUIRE(table_.find(name)->bytes == value);
    compare_times();
    for (const auto& [tag, waiter] : parked_) {
      size_t missing = 0;
      const ModelWait& wait = waits_.at(tag);
      for (const std::string& name : wait.keys) missing += is_met(name, wait) ? 0 : 1;
      REQUIRE(table_.missing_keys(*waiter).size() == missing);
    }
    for (const auto& [name, items] : queues_) {
      REQUIRE(table_.queue_size(name) == items.size());
      REQUIRE((table_.front(name) != nullptr) == !items.empty());
    }
  }

 private:
  static constexpr int kOwners = 4;

  bool is_there(const std::string& name, Table::Need need) const {
    auto queue = queues_.find(name);
    bool has_value = need != Table::Need::kQueue && model_.count(name) > 0;
    bool has_item = need != Table::Need::kValue && queue != queues_.end() && !queue->second.empty();
    return has_value || has_item;
  }
  bool is_met(const std::string& name, const ModelWait& wait) const {
    if (wait.need != Table::Need::kChange) return is_there(name, wait.need);
    return version_of(name) != wait.known;
  }
  bool is_ready(const ModelWait& wait) const {
    return std::all_of(wait.keys.begin(), wait.keys.end(),
                       [&](const std::string& name) { return is_met(name, wait); });
  }
  // The model takes the table's word for which version it is, but not for when it changes.
  uint64_t version_of(const std::string& name) const {
    return model_.count(name) > 0 ? table_.find(name)->version : 0;
  }

  void compare_times() {
    std::optional<Instant> next;
    size_t due = 0;
    for (const auto& [name, at] : times_) {
      if (!next || at < *next) next = at;
      due += at <= now_ ? 1 : 0;
    }
    REQUIRE(table_.next_expiry() == next);
    size_t seen = 0;
    table_.for_each_due(now_, [&](Bytes, const Table::Value&, Instant) { ++seen; });
    REQUIRE(seen == due);
    for (const auto& [name, value] : model_) {
      auto found = times_.find(name);
      REQUIRE(table_.expiry(name).has_value() == (found != times_.end()));
      if (found != times_.end()) REQUIRE(*table_.expiry(name) == found->second);
    }
  }

  std::string key() { return std::string(1, static_cast<char>('a' + random_() % 6)); }
  std::string number_or_word() { return random_() % 3 == 0 ? "word" : std::to_string(random_()); }

  void set(const std::string& name, const std::string& value) {
    uint64_t version = table_.set(name, value);
    REQUIRE(version > last_version_);
    last_version_ = version;
    model_[name] = value;
    times_.erase(name);
  }

  void set_for() {
    std::string name = key();
    Instant at = now_ + std::chrono::seconds(random_() % 5);
    uint64_t version = table_.set_for(name, "2", at);
    REQUIRE(version > last_version_);
    last_version_ = version;
    model_[name] = "2";
    times_[name] = at;
  }

  void expire() {
    now_ += std::chrono::seconds(random_() % 3);
    size_t expired = 0;
    for (auto one = times_.begin(); one != times_.end();) {
      bool due = one->second <= now_;
      if (due) expired += model_.erase(one->first);
      one = due ? times_.erase(one) : std::next(one);
    }
    REQUIRE(table_.expire(now_) == expired);
  }

  void set_if_version() {
    std::string name = key();
    uint64_t current = version_of(name);
    uint64_t expected = random_() % 3 == 0 ? random_() % 100 : current;
    Table::VersionSet result = table_.set_if_version(name, "3", expected);
    REQUIRE(result.swapped == (expected == current));
    if (!result.swapped) {
      REQUIRE(result.version == current);
      return;
    }
    REQUIRE(result.version > last_version_);
    last_version_ = result.version;
    model_[name] = "3";
    times_.erase(name);
  }

  void erase_prefix() {
    std::string prefix = random_() % 20 == 0 ? "" : key();
    size_t before = model_.size();
    std::erase_if(model_, [&](const auto& one) { return one.first.starts_with(prefix); });
    std::erase_if(times_, [&](const auto& one) { return one.first.starts_with(prefix); });
    REQUIRE(table_.erase_prefix(prefix) == before - model_.size());
  }

  void append() {
    std::string name = key();
    table_.append(name, "7");
    model_[name] += "7";
    if (model_[name].size() > 30) set(name, "1");
  }

  void add() {
    std::string name = key();
    auto amount = static_cast<int64_t>(random_() % 2000) - 1000;
    Table::Add result = table_.add(name, amount);
    int64_t before = 0;
    if (model_.count(name) > 0) {
      char* rest = nullptr;
      errno = 0;
      before = std::strtoll(model_[name].c_str(), &rest, 10);
      if (*rest != '\0' || errno != 0) {
        REQUIRE(result.status == Table::AddStatus::kNotANumber);
        return;
      }
    }
    if (result.status == Table::AddStatus::kOverflow) return;
    REQUIRE(result.value == before + amount);
    model_[name] = std::to_string(before + amount);
  }

  void compare_set() {
    std::string name = key();
    bool exists = model_.count(name) > 0;
    std::string expected = random_() % 2 == 0 ? "" : exists ? model_[name] : "other";
    Table::CompareSet result = table_.compare_set(name, expected, "1");
    bool swaps = exists ? model_[name] == expected : expected.empty();
    REQUIRE(result.swapped == swaps);
    REQUIRE((result.current != nullptr) == (exists || swaps));
    if (!swaps) return;
    model_[name] = "1";
    times_.erase(name);
  }

  void erase() {
    std::string name = key();
    REQUIRE(table_.erase(name) == (model_.erase(name) > 0));
    times_.erase(name);
  }

  void multi_set() {
    std::vector<std::string> strings;
    for (size_t i = 2 * (random_() % 4); i > 0; --i) strings.push_back(key());
    table_.multi_set(std::vector<Bytes>(strings.begin(), strings.end()));
    for (size_t i = 0; i < strings.size(); i += 2) {
      model_[strings[i]] = strings[i + 1];
      times_.erase(strings[i]);
    }
  }

  void push() {
    std::string name = key();
    std::string item = std::to_string(random_());
    table_.push(name, item);
    queues_[name].push_back(item);
  }

  void pop() {
    std::string name = key();
    std::deque<std::string>& items = queues_[name];
    std::optional<std::string> item = table_.pop(name);
    REQUIRE(item.has_value() == !items.empty());
    if (!item) return;
    REQUIRE(*item == items.front());
    items.pop_front();
  }

  void wait() {
    static constexpr Table::Need kNeeds[] = {Table::Need::kPresent, Table::Need::kValue,
                                             Table::Need::kQueue, Table::Need::kChange};
    ModelWait wait{static_cast<int>(random_() % kOwners), kNeeds[random_() % 4], 0, {}};
    for (size_t count = random_() % 4; count > 0; --count) wait.keys.push_back(key());
    if (wait.need == Table::Need::kChange) {
      wait.keys.resize(1);
      if (wait.keys[0].empty()) wait.keys[0] = key();
      wait.known = random_() % 5 == 0 ? random_() : version_of(wait.keys[0]);
    }
    uint64_t tag = ++last_tag_;
    Table::Waiter* waiter = nullptr;
    std::vector<Bytes> keys(wait.keys.begin(), wait.keys.end());
    if (wait.need != Table::Need::kChange && random_() % 2 == 0) {
      SharedKeys& list = lists_[wait.keys];
      if (list == nullptr) list = std::make_shared<WantedKeys>(keys);
      waiter = table_.wait(owners_[wait.owner], tag, list, wait.need);
    } else {
      waiter =
          table_.wait(owners_[wait.owner], tag, keys, wait.need, static_cast<int64_t>(wait.known));
    }
    bool ready = is_ready(wait);
    REQUIRE((waiter == nullptr) == ready);
    if (ready) return;
    waits_[tag] = wait;
    parked_[tag] = waiter;
  }

  void cancel() {
    if (parked_.empty()) return;
    auto chosen = std::next(parked_.begin(), static_cast<long>(random_() % parked_.size()));
    table_.cancel(chosen->second);
    waits_.erase(chosen->first);
    parked_.erase(chosen);
  }

  void drop() {
    auto owner = static_cast<int>(random_() % kOwners);
    table_.drop(owners_[owner]);
    std::erase_if(parked_, [&](const auto& one) { return waits_.at(one.first).owner == owner; });
    std::erase_if(waits_, [&](const auto& one) { return one.second.owner == owner; });
  }

  std::mt19937 random_;
  Table table_;
  Table::WaiterOwner owners_[kOwners];
  Instant now_{};
  std::map<std::string, std::string> model_;
  std::map<std::string, Instant> times_;
  std::map<std::string, std::deque<std::string>> queues_;
  std::map<uint64_t, ModelWait> waits_;
  std::map<uint64_t, Table::Waiter*> parked_;
  std::map<std::vector<std::string>, SharedKeys> lists_;
  uint64_t last_tag_ = 0;
  uint64_t last_version_ = 0;
};

}  // namespace

TEST_CASE("the table does what a plain model does") {
  for (uint32_t seed = 1; seed <= 50; ++seed) {
    CAPTURE(seed);
    Comparison comparison(seed);
    for (int step = 0; step < 1000; ++step) {
      CAPTURE(step);
      comparison.step();
      comparison.compare();
    }
  }
}
