#include "bindings/foreign_store.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/random.h"
#include "base/text.h"
#include "bindings/convert.h"
#include "bindings/foreign_convert.h"

namespace py = pybind11;

namespace rdzv {
namespace {

// Between looks at what gives no event: 1 to 20 ms, and not beyond the deadline.
class Pauses {
 public:
  explicit Pauses(const Deadline& deadline) : deadline_(deadline) {}

  // Without the GIL.
  void pause() {
    throw_if_interrupted();
    std::this_thread::sleep_for(std::min(next_, deadline_.left()));
    next_ = std::min<Duration>(2 * next_, std::chrono::milliseconds(20));
  }

 private:
  Deadline deadline_;
  Duration next_ = std::chrono::milliseconds(1);
};

// torch's and ours, which torch's store knows nothing of.
bool is_queue_empty(const py::error_already_set& error) {
  std::string name = py::str(error.type().attr("__name__"));
  return name == "QueueEmptyError";
}

std::string random_value() {
  std::array<uint8_t, 16> random{};
  fill_random(random.data(), random.size());
  std::string text = "nobody's value ";
  for (uint8_t byte : random) text += std::to_string(byte) + ".";
  return text;
}

}  // namespace

ForeignStore::ForeignStore(py::object object)
    : object_(std::move(object)), nobodys_value_(random_value()) {}

bool ForeignStore::has(const char* name) const {
  return with_gil([&] {
    py::object found = py::getattr(object(), name, py::none());
    if (found.is_none()) return false;
    if (!py::isinstance<Store>(object())) return true;
    py::object of_class = py::getattr(py::type::of(object()), name, py::none());
    return !of_class.is(py::getattr(py::type::of<Store>(), name, py::none()));
  });
}

bool ForeignStore::has_extended_api() const {
  return with_gil([&] {
    if (has("has_extended_api")) return object().attr("has_extended_api")().cast<bool>();
    return has("append") && has("multi_get") && has("multi_set");
  });
}

void ForeignStore::throw_missing(const char* name, const std::string& what) const {
  throw Error(ErrorCode::kUnsupported, describe() + "." + name + ": " + what);
}

py::object ForeignStore::method(const char* name) const {
  if (!has(name)) throw_missing(name, "the store's class has no such method");
  return object().attr(name);
}

bool ForeignStore::takes(const char* name, const char* parameter) const {
  std::string which = std::string(name) + "." + parameter;
  if (auto known = takes_.find(which); known != takes_.end()) return known->second;
  bool found = false;
  try {
    py::object inspect = py::module_::import("inspect");
    py::dict parameters(inspect.attr("signature")(method(name)).attr("parameters"));
    py::object any_name = inspect.attr("Parameter").attr("VAR_KEYWORD");
    for (auto [key, value] : parameters) {
      py::object kind = value.attr("kind");
      found = found || key.equal(py::str(parameter)) || kind.equal(any_name);
    }
  } catch (py::error_already_set& error) {
    // A compiled method, as torch's are, has no signature.
    if (!error.matches(PyExc_ValueError) && !error.matches(PyExc_TypeError)) throw;
  }
  return takes_[which] = found;
}

// A timeout of 0 never is: some of torch's stores take it for "no limit".
bool ForeignStore::is_own_timeout(Duration own) const {
  return own != Duration::zero() && own == timeout();
}

void ForeignStore::set(Bytes key, Bytes value) {
  with_gil([&] { method("set")(foreign_key(key), foreign_value(value)); });
}

std::string ForeignStore::get(Bytes key, Duration timeout) {
  std::optional<std::string> value = with_gil([&]() -> std::optional<std::string> {
    py::object get = method("get");
    if (takes("get", "timeout"))
      return value_from(get(foreign_key(key), py::arg("timeout") = foreign_timeout(timeout)));
    if (is_own_timeout(timeout)) return value_from(get(foreign_key(key)));
    return std::nullopt;
  });
  return value ? *value : get_within(key, timeout);
}

std::string ForeignStore::get_within(Bytes key, Duration timeout) {
  Deadline deadline = Deadline::after(timeout);
  Pauses pauses(deadline);
  while (true) {
    if (std::optional<std::string> value = read_now(key)) return *value;
    if (deadline.passed())
      throw Error(ErrorCode::kTimeout, timeout_text("get", {key}, 1, deadline.elapsed()),
                  missing_of({key}));
    if (!check({key})) {
      wait({key}, deadline.left());
    } else {
      pauses.pause();  // a queue of that name
    }
  }
}

// compare_set reads without waiting, where get would wait: the key may be gone again, or a queue's.
std::optional<std::string> ForeignStore::read_now(Bytes key) {
  if (!check({key})) return std::nullopt;
  return with_gil([&]() -> std::optional<std::string> {
    py::object get = method("get");
    if (takes("get", "timeout")) {
      try {
        return value_from(get(foreign_key(key), py::arg("timeout") = foreign_timeout({})));
      } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_TimeoutError)) throw;
        return std::nullopt;
      }
    }
    if (!has("compare_set")) return value_from(get(foreign_key(key)));
    py::bytes nobodys = foreign_value(nobodys_value_);
    std::string value = value_from(method("compare_set")(foreign_key(key), nobodys, nobodys));
    if (value == nobodys_value_) return std::nullopt;
    return value;
  });
}

Store::Exchange ForeignStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  return with_gil([&] {
    if (!has("compare_exchange")) return exchange_by_compare_set(key, expected, desired);
    py::tuple answer = method("compare_exchange")(foreign_key(key), foreign_value(expected),
                                                  foreign_value(desired));
    Exchange exchange;
    exchange.value = value_from(answer[0]);
    exchange.swapped = answer[1].cast<bool>();
    // An empty value that was not exchanged may be none.
    exchange.exists = exchange.swapped || !exchange.value.empty() || (has("check") && check({key}));
    return exchange;
  });
}

// compare_set answers what is there afterwards, or for a missing key what was expected.
Store::Exchange ForeignStore::exchange_by_compare_set(Bytes key, Bytes expected, Bytes desired) {
  py::object compare_set = method("compare_set");
  Versioned before;
  if (expected != desired) before = try_get(key);
  Exchange exchange;
  exchange.value =
      value_from(compare_set(foreign_key(key), foreign_value(expected), foreign_value(desired)));
  if (exchange.value != desired) {
    exchange.exists = exchange.value != expected;
  } else if (expected == desired) {
    exchange.exists = exchange.swapped = expected.empty() || check({key});
  } else {
    exchange.exists = true;
    exchange.swapped = before.version == 0 || before.value != desired;
  }
  if (!exchange.exists) exchange.value.clear();
  return exchange;
}

int64_t ForeignStore::add(Bytes key, int64_t amount) {
  return with_gil([&] { return method("add")(foreign_key(key), amount).cast<int64_t>(); });
}

bool ForeignStore::check(const std::vector<Bytes>& keys) {
  return with_gil([&] { return method("check")(foreign_keys(keys)).cast<bool>(); });
}

void ForeignStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  if (timeout == Duration::zero()) {
    if (check(keys)) return;
    std::vector<Bytes> missing;
    for (Bytes key : keys) {
      if (!check({key})) missing.push_back(key);
    }
    throw Error(ErrorCode::kTimeout, timeout_text("wait", missing, keys.size(), timeout),
                missing_of(missing));
  }
  with_gil([&] { method("wait")(foreign_keys(keys), foreign_timeout(timeout)); });
}

bool ForeignStore::delete_key(Bytes key) {
  return with_gil([&] { return method("delete_key")(foreign_key(key)).cast<bool>(); });
}

int64_t ForeignStore::num_keys() {
  return with_gil([&] { return method("num_keys")().cast<int64_t>(); });
}

std::vector<std::string> ForeignStore::list_keys(Bytes prefix) {
  check_key("list_keys", prefix);
  return with_gil([&] {
    py::object list_keys = method("list_keys");
    py::object found = takes("list_keys", "prefix")
                           ? list_keys(py::arg("prefix") = foreign_key(prefix))
                           : list_keys();
    // torch's PrefixStore "a" lists a key of "ab" too, cut at the wrong place.
    bool lists_too_much = py::hasattr(object(), "_underlying_non_prefix_store");
    std::vector<std::string> keys;
    for (py::handle each : py::iter(found)) {
      std::string key = key_from_python(each);
      if (key.compare(0, prefix.size(), prefix) != 0) continue;
      if (!lists_too_much || check({key})) keys.push_back(std::move(key));
    }
    std::sort(keys.begin(), keys.end());
    return keys;
  });
}

void ForeignStore::append(Bytes key, Bytes value) {
  with_gil([&] { method("append")(foreign_key(key), foreign_value(value)); });
}

std::vector<std::string> ForeignStore::multi_get(const std::vector<Bytes>& keys, Duration timeout) {
  return with_gil([&] {
    py::object multi_get = method("multi_get");
    if (takes("multi_get", "timeout")) {
      return values_from(
          multi_get(foreign_keys(keys), py::arg("timeout") = foreign_timeout(timeout)));
    }
    if (!is_own_timeout(timeout)) wait(keys, timeout);
    return values_from(multi_get(foreign_keys(keys)));
  });
}

void ForeignStore::multi_set(const std::vector<Bytes>& pairs) {
  with_gil([&] {
    py::list keys, values;
    for (size_t i = 0; i + 1 < pairs.size(); i += 2) {
      keys.append(foreign_key(pairs[i]));
      values.append(foreign_value(pairs[i + 1]));
    }
    method("multi_set")(keys, values);
  });
}

void ForeignStore::queue_push(Bytes key, Bytes item) {
  with_gil([&] { method("queue_push")(foreign_key(key), foreign_value(item)); });
}

bool ForeignStore::pop_now(Bytes key, std::string& item) {
  return with_gil([&] {
    try {
      item = value_from(method("queue_pop")(foreign_key(key), py::arg("block") = false));
      return true;
    } catch (py::error_already_set& error) {
      if (!is_queue_empty(error)) throw;
      return false;
    }
  });
}

std::string ForeignStore::queue_pop(Bytes key, bool block, Duration timeout) {
  std::string item;
  bool asked = with_gil([&] {
    py::object pop = method("queue_pop");
    if (takes("queue_pop", "timeout")) {
      item = value_from(pop(foreign_key(key), py::arg("block") = block,
                            py::arg("timeout") = foreign_timeout(timeout)));
      return true;
    }
    if (block && !is_own_timeout(timeout)) return false;
    item = value_from(pop(foreign_key(key), py::arg("block") = block));
    return true;
  });
  if (asked) return item;
  Deadline deadline = Deadline::after(timeout);
  Pauses pauses(deadline);
  while (!pop_now(key, item)) {
    if (deadline.passed())
      throw Error(ErrorCode::kTimeout, queue_timeout_text(key, deadline.elapsed()),
                  missing_of({key}));
    pauses.pause();
  }
  return item;
}

int64_t ForeignStore::queue_len(Bytes key) {
  return with_gil([&] { return method("queue_len")(foreign_key(key)).cast<int64_t>(); });
}

void ForeignStore::barrier_as(Bytes key, const Seat& seat, Duration timeout) {
  bool asked = with_gil([&] {
    if (!has("barrier") || !takes("barrier", "rank") || !takes("barrier", "round")) return false;
    method("barrier")(foreign_key(key), seat.world_size, foreign_timeout(timeout),
                      py::arg("rank") = seat.rank, py::arg("round") = seat.round);
    return true;
  });
  if (!asked) Store::barrier_as(key, seat, timeout);
}

void ForeignStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  with_gil([&] { method("barrier")(foreign_key(key), world_size, foreign_timeout(timeout)); });
}

}  // namespace rdzv
