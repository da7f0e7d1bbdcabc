// A hash table that never stops for long: when it has become too small, what is in it moves into a
// larger one a few places at a time, with each one that is added or removed. What is in it stays
// where it is in memory. Its interface is the part of std::unordered_map's that is used. Whoever
// walks over it may erase on the way, and add nothing.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

namespace rdzv {

template <typename Key, typename Mapped, typename Hash, typename Equal = std::equal_to<>>
class GradualMap {
  struct Node {
    template <typename... Arguments>
    explicit Node(size_t hash_of_key, Arguments&&... arguments)
        : hash(hash_of_key), entry(std::forward<Arguments>(arguments)...) {}
    Node* next = nullptr;
    const size_t hash;
    std::pair<const Key, Mapped> entry;
  };

 public:
  using key_type = Key;
  using mapped_type = Mapped;
  using value_type = std::pair<const Key, Mapped>;

  template <typename Value>
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = GradualMap::value_type;
    using difference_type = std::ptrdiff_t;
    using pointer = Value*;
    using reference = Value&;

    Iterator() = default;
    operator Iterator<const Value>() const { return {map_, node_}; }
    Value& operator*() const { return node_->entry; }
    Value* operator->() const { return &node_->entry; }
    Iterator& operator++() {
      node_ = node_->next != nullptr ? node_->next : map_->first_from(map_->place(node_->hash) + 1);
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.node_ == b.node_; }

   private:
    friend class GradualMap;
    template <typename Other>
    friend class Iterator;
    Iterator(const GradualMap* map, Node* node) : map_(map), node_(node) {}
    const GradualMap* map_ = nullptr;
    Node* node_ = nullptr;
  };
  using iterator = Iterator<value_type>;
  using const_iterator = Iterator<const value_type>;

  // What was taken out.
  class Extracted {
   public:
    const Key& key() const { return node_->entry.first; }
    Mapped& mapped() { return node_->entry.second; }

   private:
    friend class GradualMap;
    explicit Extracted(Node* node) : node_(node) {}
    std::unique_ptr<Node> node_;
  };

  // With room for so many.
  GradualMap(size_t count, Hash hash) : hash_(hash) { reserve(count); }
  GradualMap(GradualMap&& other) noexcept : hash_(other.hash_) { swap(other); }
  GradualMap& operator=(GradualMap&& other) noexcept {
    swap(other);
    return *this;
  }
  ~GradualMap() { clear(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  iterator begin() { return {this, first()}; }
  const_iterator begin() const { return {this, first()}; }
  iterator end() { return {}; }
  const_iterator end() const { return {}; }

  template <typename Name>
  iterator find(const Name& name) {
    return {this, search(name, hash_(name))};
  }
  template <typename Name>
  const_iterator find(const Name& name) const {
    return {this, search(name, hash_(name))};
  }
  template <typename Name>
  bool contains(const Name& name) const {
    return search(name, hash_(name)) != nullptr;
  }
  template <typename Name>
  Mapped& at(const Name& name) {
    return search(name, hash_(name))->entry.second;
  }

  template <typename... Arguments>
  std::pair<iterator, bool> try_emplace(Key key, Arguments&&... arguments) {
    const size_t hash = hash_(key);
    if (Node* found = search(key, hash)) return {{this, found}, false};
    grow();
    Node* node = new Node(hash, std::piecewise_construct, std::forward_as_tuple(std::move(key)),
                          std::forward_as_tuple(std::forward<Arguments>(arguments)...));
    ++size_;
    link(node);
    return {{this, node}, true};
  }
  std::pair<iterator, bool> emplace(Key key, Mapped mapped) {
    return try_emplace(std::move(key), std::move(mapped));
  }
  Mapped& operator[](Key key) { return try_emplace(std::move(key)).first->second; }

  Extracted extract(const_iterator at) {
    unlink(at.node_);
    return Extracted(at.node_);
  }
  // Returns what comes behind it.
  iterator erase(const_iterator at) {
    iterator next(this, at.node_);
    ++next;
    unlink(at.node_);
    delete at.node_;
    return next;
  }
  template <typename Name>
  size_t erase(const Name& name)
    requires(!std::is_convertible_v<const Name&, const_iterator>)
  {
    Node* found = search(name, hash_(name));
    if (found == nullptr) return 0;
    erase(const_iterator(this, found));
    return 1;
  }
  void clear() {
    while (Node* node = first()) {
      unlink(node);
      delete node;
    }
    now_ = {};
    before_ = {};
    first_ = moved_ = 0;
  }

  // Room for so many, so that none of them makes it grow. Of an empty one.
  void reserve(size_t count) {
    if (size_ == 0 && count > 0) now_ = Places(count);
  }

 private:
  // As many as a power of two, or none. The system gives them zeroed, a page when it is touched.
  struct Places {
    struct Free {
      void operator()(Node** places) const { std::free(places); }
    };
    Places() = default;
    explicit Places(size_t count_min) {
      size_t count_wanted = 1;
      while (count_wanted < count_min) count_wanted *= 2;
      first.reset(static_cast<Node**>(std::calloc(count_wanted, sizeof(Node*))));
      if (first == nullptr) throw std::bad_alloc();
      count = count_wanted;
    }
    Places(Places&& other) noexcept
        : first(std::move(other.first)), count(std::exchange(other.count, 0)) {}
    Places& operator=(Places&& other) noexcept {
      first = std::move(other.first);
      count = std::exchange(other.count, 0);
      return *this;
    }
    std::unique_ptr<Node*[], Free> first;
    size_t count = 0;
  };
  static constexpr size_t kPlacesMin = 8;
  static constexpr size_t kMovedAtOnce = 4;  // places: they are gone before it has to grow again

  // Places are counted through: those of the table, then those of the one before it.
  size_t place(size_t hash) const {
    if (before_.count > 0) {
      const size_t old = hash & (before_.count - 1);
      if (old >= moved_) return now_.count + old;
    }
    return hash & (now_.count - 1);
  }
  Node*& head(size_t place) const {
    return place < now_.count ? now_.first[place] : before_.first[place - now_.count];
  }
  Node* first_from(size_t place) const {
    for (; place < now_.count + before_.count; ++place) {
      if (Node* node = head(place)) return node;
    }
    return nullptr;
  }
  Node* first() const {
    if (size_ == 0) return nullptr;
    while (head(first_) == nullptr) ++first_;
    return head(first_);
  }

  template <typename Name>
  Node* search(const Name& name, size_t hash) const {
    if (size_ == 0) return nullptr;
    Node* node = head(place(hash));
    while (node != nullptr && (node->hash != hash || !Equal()(node->entry.first, name)))
      node = node->next;
    return node;
  }

  void link(Node* node) {
    const size_t at = place(node->hash);
    Node*& head_of_it = head(at);
    node->next = std::exchange(head_of_it, node);
    first_ = std::min(first_, at);
  }
  void unlink(Node* node) {
    Node** link = &head(place(node->hash));
    while (*link != node) link = &(*link)->next;
    *link = node->next;
    --size_;
  }

  void grow() {
    if (before_.count > 0) return move_some();
    if (size_ < now_.count) return;
    Places larger(std::max(kPlacesMin, 2 * now_.count));
    before_ = std::exchange(now_, std::move(larger));
    moved_ = first_ = 0;
    move_some();
  }
  void move_some() {
    for (size_t step = 0; step < kMovedAtOnce && moved_ < before_.count; ++step) {
      Node* node = std::exchange(before_.first[moved_++], nullptr);
      while (node != nullptr) link(std::exchange(node, node->next));
    }
    if (moved_ == before_.count) before_ = {};
  }

  void swap(GradualMap& other) noexcept {
    std::swap(hash_, other.hash_);
    std::swap(now_, other.now_);
    std::swap(before_, other.before_);
    std::swap(moved_, other.moved_);
    std::swap(first_, other.first_);
    std::swap(size_, other.size_);
  }

  Hash hash_;
  Places now_;
  Places before_;             // while it grows
  size_t moved_ = 0;          // of them: these are empty
  mutable size_t first_ = 0;  // no place before it has anything
  size_t size_ = 0;
};

}  // namespace rdzv
