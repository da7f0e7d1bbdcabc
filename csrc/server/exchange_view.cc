#include "server/exchange_view.h"

#include "store/exchange.h"
#include "wire/limits.h"
#include "wire/native.h"

namespace rdzv {

void ExchangeView::look(const Table& table, Bytes wire_key, int64_t world_size) {
  // Every write changes the version, and without writes every deletion the size.
  if (world_size == world_size_ && table.version() == table_version_ &&
      table.size() == table_size_ && wire_key == key_) {
    return;
  }
  key_ = wire_key;
  world_size_ = world_size;
  table_version_ = table.version();
  table_size_ = table.size();
  missing_.clear();
  // A new one: the last one may be on its way to those who asked for it.
  values_ = std::make_shared<std::string>();
  native::put_u32(*values_, static_cast<uint32_t>(world_size));
  for (int64_t rank = 0; rank < world_size; ++rank) {
    const Table::Value* value = table.find(exchange_slot(wire_key, rank));
    if (value == nullptr) {
      missing_.push_back(rank);
    } else if (missing_.empty() && values_->size() <= limits::kRequestBytesMax) {
      native::put_string(*values_, value->bytes);
    }
  }
}

void ExchangeView::trim() {
  constexpr size_t kValuesKept = 1024 * 1024;
  if (values_->capacity() <= kValuesKept) return;
  world_size_ = 0;
  values_ = std::make_shared<std::string>();
}

}  // namespace rdzv
