// The body of an answer that is made of many values, in pieces that follow each other: large values
// where they are, and what lies between them. It may be made in slices. Nothing large is ever
// copied when it grows.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "store/value_bytes.h"
#include "wire/limits.h"

namespace rdzv {

class AnswerBody {
 public:
  const std::vector<SharedBytes>& pieces() const { return pieces_; }
  // With what is in text().
  size_t bytes() const { return bytes_ + text_.size(); }
  // For an answer. What add() found to be has no pieces.
  bool is_too_large() const { return bytes() > limits::kRequestBytesMax; }
  // What is in memory for it alone.
  size_t own_bytes() const {
    return own_bytes_ + text_.capacity() + pieces_.capacity() * sizeof(SharedBytes);
  }

  // What is appended to this comes next; add() or end() after it.
  std::string& text() { return text_; }
  // False: it is too large now.
  bool add(const ValueBytes& value) {
    if (SharedBytes shared = value.shared()) {
      end();
      bytes_ += shared->size();
      pieces_.push_back(std::move(shared));
    } else {
      text_.append(value);
      end_piece();
    }
    if (!is_too_large()) return true;
    *this = AnswerBody();
    bytes_ = limits::kRequestBytesMax + 1;
    return false;
  }
  // The same for what has no values: it may be called in place of add(), at any time.
  void end_piece() {
    if (text_.size() + ValueBytes::kSharedMin > kPieceBytes) end();
  }
  void end() {
    if (text_.empty()) return;
    bytes_ += text_.size();
    own_bytes_ += text_.size();
    text_.shrink_to_fit();
    pieces_.push_back(std::make_shared<std::string>(std::exchange(text_, {})));
  }

 private:
  static constexpr size_t kPieceBytes = 64 * 1024;

  std::vector<SharedBytes> pieces_;
  std::string text_;  // the last piece, while it is made
  size_t bytes_ = 0;  // of the pieces
  size_t own_bytes_ = 0;
};

}  // namespace rdzv
