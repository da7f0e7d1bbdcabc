// A tiny vocabulary for the tests of the table: owners are letters, waits are numbered in the order
// they come.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "store/table.h"

namespace rdzv::test {

struct Play {
  Table table;
  std::map<char, Table::WaiterOwner> owners;
  std::map<uint64_t, Table::Waiter*> parked;
  uint64_t last_tag = 0;

  ~Play() {
    for (auto& [name, owner] : owners) table.drop(owner);
  }

  std::string value(Bytes key) const {
    const Table::Value* value = table.find(key);
    return value == nullptr ? "(none)" : value->bytes;
  }
  uint64_t version(Bytes key) const { return table.find(key)->version; }

  // False: the need was met.
  bool wait(char owner, const std::vector<Bytes>& keys, Table::Need need = Table::Need::kPresent,
            int64_t target = 0) {
    Table::Waiter* waiter = table.wait(owners[owner], ++last_tag, keys, need, target);
    parked[last_tag] = waiter;
    return waiter != nullptr;
  }

  std::string pop(Bytes key) { return table.pop(key).value_or("(none)"); }

  // Tags in the order of waking: "1 2 3"; with the item for who took one: "1=item".
  std::string woken() {
    std::string text;
    for (const Table::Woken& woken : table.take_woken()) {
      for (const std::string& key : woken.keys) {
        CHECK((woken.item || table.find(key) != nullptr || table.front(key) != nullptr));
      }
      text += (text.empty() ? "" : " ") + std::to_string(woken.tag);
      if (woken.item) text += "=" + *woken.item;
    }
    return text;
  }
};

}  // namespace rdzv::test
