// Marks of a Table: who is to know that a key has changed. A value carries its own; those of keys
// that have none lie beside.
#include "store/table.h"

namespace rdzv {

const TableView::Value* TableView::mark(Bytes key, Marks reader) {
  auto found = values_.find(key);
  if (found != values_.end()) {
    found->second.marks |= reader;
    return &found->second;
  }
  auto absent = absent_marks_.find(key);
  if (absent == absent_marks_.end()) absent = absent_marks_.emplace(std::string(key), 0).first;
  absent->second |= reader;
  return nullptr;
}

void TableView::unmark(Bytes key, Marks reader) {
  auto absent = absent_marks_.find(key);
  if (absent == absent_marks_.end()) return;
  absent->second &= ~reader;
  if (absent->second == 0) absent_marks_.erase(absent);
}

void TableView::take_absent_marks(Bytes key) {
  auto absent = absent_marks_.find(key);
  if (absent == absent_marks_.end()) return;
  hits_ |= absent->second;
  absent_marks_.erase(absent);
}

}  // namespace rdzv
