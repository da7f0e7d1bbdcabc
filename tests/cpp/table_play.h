// A tiny vocabulary for the tests of the table: owners are letters, waits are numbered in the order
// they come.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "store/table.h"

namespace rdzv::test {

struct Play {
  Table table;
  std::map<char, Table::WaiterOwner> owners;
  std::map<uint64_t, Table::Waiter*> parked;
  std::set<uint64_t> watching;  // tags of those whose key may be gone when they wake
  uint64_t last_tag = 0;

  ~Play() {
    for (auto& [name, owner] : owners) table.drop(owner);
  }

  std::string value(Bytes key) const {
    const Table::Value* value = table.find(key);
    return std::string(value == nullptr ? Bytes("(none)") : Bytes(value->bytes));
  }
  uint64_t version(Bytes key) const { return table.find(key)->version; }
  // Times of the tests' clock, which begins at 0.
  static Instant at(int64_t seconds) { return Instant(std::chrono::seconds(seconds)); }

  // Waits until the key's version is not `known`. False: it is another.
  bool watch(char owner, Bytes key, uint64_t known) {
    return wait(owner, {key}, Table::Need::kChange, static_cast<int64_t>(known));
  }

  // False: the need was met.
  bool wait(char owner, const std::vector<Bytes>& keys, Table::Need need = Table::Need::kPresent,
            int64_t target = 0) {
    Table::Waiter* waiter = table.wait(owners[owner], ++last_tag, keys, need, target);
    parked[last_tag] = waiter;
    if (need == Table::Need::kChange) watching.insert(last_tag);
    return waiter != nullptr;
  }

  std::string pop(Bytes key) { return table.pop(key).value_or("(none)"); }

  // Tags in the order of waking: "1 2 3"; with the item for who took one: "1=item".
  std::string woken() {
    std::string text;
    for (const Table::Woken& woken : table.take_woken()) {
      for (Bytes key : *woken.keys) {
        CHECK((woken.item || watching.contains(woken.tag) || table.find(key) != nullptr ||
               table.front(key) != nullptr));
      }
      text += (text.empty() ? "" : " ") + std::to_string(woken.tag);
      if (woken.item) text += "=" + *woken.item;
    }
    return text;
  }
};

}  // namespace rdzv::test
