// What docs/protocol.md has to say about a body, from its one definition.
#pragma once

#include <concepts>
#include <optional>
#include <string>

#include "wire/messages.h"

namespace rdzv::test {

// "`u32` timeout, `string` key"
class Describe {
 public:
  template <typename Message>
  static std::string text() {
    Describe archive;
    Message message;
    Message::fields(archive, message);
    return archive.text_;
  }

  template <native::Number T>
  void field(const char* name, const T&) {
    add((std::unsigned_integral<T> ? "`u" : "`i") + std::to_string(8 * sizeof(T)) + "` " + name);
  }
  template <native::Choice T>
  void field(const char* name, const T&) {
    field(name, native::last_of<T>());
  }
  template <native::String T>
  void field(const char* name, const T&) {
    add(std::string("`string` ") + name);
  }
  void field(const char* name, const native::Id128&) { add(std::string("16 bytes ") + name); }
  template <native::Strings T>
  void field(const char*, const T&) {
    add(T::kStringsAnItem == 1 ? "`list` of (`string` key)"
                               : "`list` of (`string` key, `string` value)");
  }
  template <typename T, size_t kMax>
  void field(const char* name, const native::List<T, kMax>&) {
    Describe item;
    const T nothing{};
    item.field(name, nothing);
    add("`list` of (" + item.text_ + ")");
  }
  template <typename T>
  void field(const char* name, const std::optional<T>&) {
    Describe value;
    value.field(name, T());
    add("perhaps " + value.text_);
  }
  // One with a name of its own is described elsewhere.
  template <native::Record<Describe> T>
  void field(const char* name, const T& record) {
    if constexpr (requires { T::kRecord; }) {
      const bool is_named = std::string_view(name) != T::kRecord;
      add(std::string("`") + T::kRecord + "`" + (is_named ? std::string(" ") + name : ""));
    } else {
      T::fields(*this, record);
    }
  }

 private:
  void add(const std::string& field) { text_ += (text_.empty() ? "" : ", ") + field; }

  std::string text_;
};

}  // namespace rdzv::test
