// What is made of a list of keys is made once while none of them changes, and never when it is out
// of date.
#include "server/answer_cache.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "store/exchange.h"
#include "support.h"
#include "wire/limits.h"

using namespace rdzv;
using namespace rdzv::test;
using Form = AnswerCache::Form;
using Need = Table::Need;

namespace {

struct Scene {
  Table table;
  Budget budget = unlimited();
  AnswerCache answers{table, budget};

  static Budget unlimited() {
    Budget budget;
    budget.give(SIZE_MAX);
    return budget;
  }
  static std::string key(size_t i) { return "key" + std::to_string(i); }
  static std::string request(size_t first, size_t keys) {
    Fields list = Fields().u32(keys);
    for (size_t i = 0; i < keys; ++i) list.string32(key(first + i));
    return list.bytes;
  }
  // As a protocol does.
  SharedKeys list(Form form, Bytes bytes) {
    if (SharedKeys known = answers.find(form, bytes)) return known;
    ByteReader reader(bytes);
    std::vector<Bytes> keys;
    REQUIRE(native::take_strings(reader, 1, keys));
    return answers.remember(form, bytes, keys);
  }
  static std::string text(const AnswerBody& body) {
    std::string all;
    for (const SharedBytes& piece : body.pieces()) all += *piece;
    CHECK(all.size() == body.bytes());
    return all;
  }
  std::string expected(Form form, const WantedKeys& keys) const {
    Fields body;
    if (form != Form::kC10d) body.u32(keys.size());
    for (Bytes name : keys) {
      const Table::Value* value = table.find(name);
      Bytes bytes = value == nullptr ? Bytes() : Bytes(value->bytes);
      if (form == Form::kNative) body.u64(value == nullptr ? 0 : value->version);
      form == Form::kC10d ? body.string64(bytes) : body.string32(bytes);
    }
    return body.bytes;
  }
  void set_all(size_t keys) {
    for (size_t i = 0; i < keys; ++i) table.set(key(i), "value of " + key(i));
  }
};

}  // namespace

TEST_CASE("many who ask for the same keys are answered with the same bytes") {
  Scene scene;
  scene.set_all(100);
  const std::string request = Scene::request(0, 100);
  SharedKeys keys = scene.list(Form::kNative, request);
  SharedBytes first = scene.answers.body(Form::kNative, keys)->pieces().front();
  for (int i = 0; i < 1000; ++i) {
    scene.table.set("elsewhere", std::to_string(i));
    SharedKeys same = scene.list(Form::kNative, request);
    REQUIRE(same == keys);
    REQUIRE(scene.answers.missing(Form::kNative, same, Need::kPresent)->at.empty());
    REQUIRE(scene.answers.body(Form::kNative, same)->pieces().front() == first);
    scene.answers.trim();
  }
  CHECK(scene.answers.looks() == 1);
  CHECK(*first == scene.expected(Form::kNative, *keys));
}

TEST_CASE("a list is looked at again once one of its keys has changed") {
  Scene scene;
  scene.set_all(10);
  SharedKeys keys = scene.list(Form::kC10d, Scene::request(0, 10));
  auto body = [&] { return Scene::text(*scene.answers.body(Form::kC10d, keys)); };
  std::string before = body();
  scene.table.set("key3", "new");
  CHECK(body() != before);
  CHECK(body() == scene.expected(Form::kC10d, *keys));
  scene.table.erase("key4");
  CHECK(body() == scene.expected(Form::kC10d, *keys));
  CHECK(scene.answers.missing(Form::kC10d, keys, Need::kValue)->at == std::vector<int64_t>{4});
  scene.table.set_for("key4", "for a while", Instant{});
  CHECK(scene.answers.missing(Form::kC10d, keys, Need::kValue)->at.empty());
  scene.table.expire(Instant{});
  CHECK(scene.answers.missing(Form::kC10d, keys, Need::kValue)->at == std::vector<int64_t>{4});
  CHECK(body() == scene.expected(Form::kC10d, *keys));
}

TEST_CASE("a queue makes a key present, but gives it no value") {
  Scene scene;
  scene.set_all(9);
  SharedKeys keys = scene.list(Form::kNative, Scene::request(0, 10));
  scene.table.push("key9", "item");
  CHECK(scene.answers.missing(Form::kNative, keys, Need::kPresent)->at.empty());
  CHECK(scene.answers.missing(Form::kNative, keys, Need::kValue)->at == std::vector<int64_t>{9});
  scene.table.pop("key9");
  CHECK(scene.answers.missing(Form::kNative, keys, Need::kPresent)->at == std::vector<int64_t>{9});
}

TEST_CASE("large values are in an answer as they lie in the table") {
  Scene scene;
  scene.set_all(10);
  const std::string large(100'000, 'x');
  scene.table.set("key2", large);
  SharedKeys keys = scene.list(Form::kNative, Scene::request(0, 10));
  const AnswerBody& body = *scene.answers.body(Form::kNative, keys);
  CHECK(Scene::text(body) == scene.expected(Form::kNative, *keys));
  REQUIRE(body.pieces().size() == 3);
  CHECK(body.pieces()[1]->data() == scene.table.find("key2")->bytes.shared()->data());
}

TEST_CASE("what is kept is bounded in bytes and in lists, and so are the marks") {
  Scene scene;
  for (size_t i = 0; i < 2000; ++i) scene.table.set(Scene::key(i), std::string(3000, 'x'));
  for (size_t i = 0; i < 1000; ++i) {
    SharedKeys keys = scene.list(Form::kNative, Scene::request(i, 1000));
    scene.answers.body(Form::kNative, keys);
    REQUIRE(scene.answers.bytes() <= limits::kComposedBytesMax);
  }
  for (size_t i = 0; i < 1000; ++i) {
    SharedKeys keys = scene.list(Form::kNative, Scene::request(3000 + i, 10));
    CHECK(scene.answers.missing(Form::kNative, keys, Need::kValue)->at.size() == 10);
    scene.answers.trim();
    REQUIRE(scene.answers.lists() <= 64);
    REQUIRE(scene.table.absent_marked() <= 64 * 10);
  }
}

TEST_CASE("one answer that is too much to keep is given, and let go of at the end of the turn") {
  Scene scene;
  for (size_t i = 0; i < 8000; ++i) scene.table.set(Scene::key(i), std::string(3000, 'x'));
  SharedKeys keys = scene.list(Form::kC10d, Scene::request(0, 8000));
  CHECK(scene.answers.body(Form::kC10d, keys)->bytes() == 8000 * 3008);
  scene.answers.trim();
  CHECK(scene.answers.bytes() == 0);
  CHECK(scene.answers.body(Form::kC10d, keys)->bytes() == 8000 * 3008);
}

TEST_CASE("what was made of a list is given back at the end of the turn in which it goes stale") {
  Scene scene;
  scene.set_all(1000);
  SharedKeys keys = scene.list(Form::kNative, Scene::request(0, 1000));
  std::weak_ptr<const std::string> made = scene.answers.body(Form::kNative, keys)->pieces().front();
  scene.answers.trim();
  CHECK(!made.expired());
  scene.table.set("key7", "new");
  scene.answers.trim();
  CHECK(made.expired());
}

TEST_CASE("an answer that would be too large is none") {
  Scene scene;
  for (size_t i = 0; i < 8; ++i) scene.table.set(Scene::key(i), std::string(33 << 20, 'x'));
  SharedKeys keys = scene.list(Form::kNative, Scene::request(0, 8));
  CHECK(scene.answers.body(Form::kNative, keys)->is_too_large());
  scene.table.set("key0", "small");
  CHECK(!scene.answers.body(Form::kNative, keys)->is_too_large());
}

TEST_CASE("whatever happens to keys and queues, lists are as a look would find them") {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    Scene scene;
    Instant now{};
    for (int step = 0; step < 2000; ++step) {
      std::string name = Scene::key(random() % 12);
      switch (random() % 8) {
        case 0:
          scene.table.set(name, std::to_string(random()));
          break;
        case 1:
          scene.table.append(name, "1");
          break;
        case 2:
          scene.table.erase(name);
          break;
        case 3:
          scene.table.push(name, "item");
          break;
        case 4:
          scene.table.pop(name);
          break;
        case 5:
          scene.table.set_for(name, "2", now + std::chrono::seconds(random() % 3));
          break;
        case 6:
          scene.table.expire(now += std::chrono::seconds(1));
          break;
        default:
          scene.answers.trim();
      }
      // More lists than there are marks.
      size_t first = random() % 5;
      auto form = random() % 2 == 0 ? Form::kNative : Form::kC10d;
      std::string request = Scene::request(first, 8 + random() % 10);
      SharedKeys keys = scene.list(form, request);
      std::vector<int64_t> without_value;
      std::vector<int64_t> absent;
      for (size_t i = 0; i < keys->size(); ++i) {
        if (scene.table.find((*keys)[i]) != nullptr) continue;
        without_value.push_back(static_cast<int64_t>(i));
        if (scene.table.queue_size((*keys)[i]) == 0) absent.push_back(static_cast<int64_t>(i));
      }
      REQUIRE(scene.answers.missing(form, keys, Need::kValue)->at == without_value);
      REQUIRE(scene.answers.missing(form, keys, Need::kPresent)->at == absent);
      if (form == Form::kC10d || without_value.empty())
        REQUIRE(Scene::text(*scene.answers.body(form, keys)) == scene.expected(form, *keys));
    }
  }
}

TEST_CASE("a list is looked at and its answer made in slices, whoever else writes meanwhile") {
  Scene scene;
  constexpr size_t kKeys = 5000;
  scene.set_all(kKeys - 1);
  SharedKeys keys = scene.list(Form::kNative, Scene::request(0, kKeys));
  const auto in_slices = [&](auto&& ask) {
    size_t slices = 1;
    for (;; ++slices) {
      scene.budget.give(1000);
      const auto* found = ask();
      REQUIRE(scene.budget.spent() < 1100);
      scene.answers.trim();
      if (found != nullptr) return slices;
      scene.table.set("elsewhere", std::to_string(slices));
      // Of the list as well: that does not make it begin again.
      scene.table.set(Scene::key(slices), "again");
    }
  };
  const auto missing = [&] { return scene.answers.missing(Form::kNative, keys, Need::kValue); };
  CHECK(in_slices(missing) > 10);
  scene.budget.give(SIZE_MAX);
  CHECK(missing()->at == std::vector<int64_t>{kKeys - 1});
  scene.table.set(Scene::key(kKeys - 1), "last");
  CHECK(in_slices(missing) > 10);
  scene.budget.give(SIZE_MAX);
  REQUIRE(missing()->at.empty());
  scene.answers.trim();

  size_t slices = 0;
  for (const AnswerBody* body = nullptr; body == nullptr; ++slices) {
    scene.budget.give(1000);
    body = scene.answers.body(Form::kNative, keys);
    REQUIRE(scene.budget.spent() < 1100);
    if (body != nullptr) CHECK(Scene::text(*body) == scene.expected(Form::kNative, *keys));
    if (slices == 3) scene.table.set(Scene::key(1), "changed meanwhile");
    if (slices == 5) scene.table.set("elsewhere", "now");
    scene.answers.trim();
  }
  CHECK(slices > 10);
}

TEST_CASE("an answer of which a key goes while it is made is none") {
  Scene scene;
  constexpr size_t kKeys = 2000;
  scene.set_all(kKeys);
  SharedKeys keys = scene.list(Form::kNative, Scene::request(0, kKeys));
  REQUIRE(scene.answers.missing(Form::kNative, keys, Need::kValue)->at.empty());
  scene.budget.give(1000);
  REQUIRE(scene.answers.body(Form::kNative, keys) == nullptr);
  scene.table.erase(Scene::key(7));
  scene.budget.give(SIZE_MAX);
  CHECK(scene.answers.body(Form::kNative, keys) == nullptr);
  CHECK(scene.answers.missing(Form::kNative, keys, Need::kValue)->at == std::vector<int64_t>{7});
}

TEST_CASE("a list of which a key goes while it is looked at is not there as a whole") {
  Scene scene;
  constexpr size_t kKeys = 2000;
  scene.set_all(kKeys);
  SharedKeys keys = scene.list(Form::kNative, Scene::request(0, kKeys));
  scene.budget.give(1000);
  REQUIRE(scene.answers.missing(Form::kNative, keys, Need::kValue) == nullptr);
  scene.table.erase(Scene::key(7));
  scene.budget.give(SIZE_MAX);
  CHECK(scene.answers.missing(Form::kNative, keys, Need::kValue)->at == std::vector<int64_t>{7});
}

TEST_CASE("who asks for another list helps along the one that is being made") {
  Scene scene;
  constexpr size_t kKeys = 3000;
  scene.set_all(2 * kKeys);
  SharedKeys one = scene.list(Form::kNative, Scene::request(0, kKeys));
  SharedKeys other = scene.list(Form::kNative, Scene::request(kKeys, kKeys));
  scene.budget.give(1000);
  REQUIRE(scene.answers.missing(Form::kNative, one, Need::kValue) == nullptr);
  while (scene.budget.give(1000),
         scene.answers.missing(Form::kNative, other, Need::kValue) == nullptr) {
  }
  scene.budget.give(1);
  const AnswerCache::Missing* missing = scene.answers.missing(Form::kNative, one, Need::kValue);
  REQUIRE(missing != nullptr);
  CHECK(missing->at.empty());
}
