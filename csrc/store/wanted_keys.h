// Keys that somebody waits for or asks for: in memory once, however many do. Nobody changes it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace rdzv {

class WantedKeys {
 public:
  explicit WantedKeys(const std::vector<Bytes>& keys) {
    size_t total = 0;
    for (Bytes key : keys) total += key.size();
    text_.reserve(total);
    keys_.reserve(keys.size());
    // Nothing moves: there is room for all.
    for (Bytes key : keys) {
      text_.append(key);
      keys_.push_back(Bytes(text_).substr(text_.size() - key.size()));
    }
  }
  // `keys` are views of parts of `text`, as a request has them.
  WantedKeys(Bytes text, const std::vector<Bytes>& keys) : text_(text) {
    keys_.reserve(keys.size());
    for (Bytes key : keys) {
      keys_.push_back(
          Bytes(text_).substr(static_cast<size_t>(key.data() - text.data()), key.size()));
    }
  }
  WantedKeys(const WantedKeys&) = delete;
  WantedKeys& operator=(const WantedKeys&) = delete;

  Bytes text() const { return text_; }
  const std::vector<Bytes>& all() const { return keys_; }
  size_t size() const { return keys_.size(); }
  Bytes operator[](size_t at) const { return keys_[at]; }
  Bytes front() const { return keys_.front(); }
  auto begin() const { return keys_.begin(); }
  auto end() const { return keys_.end(); }
  // Of memory, about.
  size_t bytes() const { return text_.capacity() + keys_.capacity() * sizeof(Bytes); }

 private:
  std::string text_;
  std::vector<Bytes> keys_;
};

using SharedKeys = std::shared_ptr<const WantedKeys>;

}  // namespace rdzv
