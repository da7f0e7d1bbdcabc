// C10dStore's operations, composed of those that the c10d protocol has. A server may serve other
// connections between two requests of one operation, so where an operation takes several, its
// comment says what that means.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "client/c10d_call.h"
#include "client/c10d_store.h"

namespace rdzv {

using c10d::Code;

namespace {

// Users' keys as they are on the wire.
class WireKeys {
 public:
  explicit WireKeys(const std::vector<Bytes>& keys) {
    owned_.reserve(keys.size());
    for (Bytes key : keys) owned_.push_back("/" + std::string(key));
    views_.assign(owned_.begin(), owned_.end());
  }

  const std::vector<Bytes>& all() const { return views_; }
  Bytes one() const { return views_[0]; }

 private:
  std::vector<std::string> owned_;
  std::vector<Bytes> views_;
};

std::vector<Bytes> as_user_knows(std::vector<Bytes> wire_keys) {
  for (Bytes& key : wire_keys) key.remove_prefix(1);
  return wire_keys;
}

}  // namespace

void C10dStore::ping() {
  Request request{"ping", {}, timeout()};
  run(request, [](Conversation& talk) { talk.acknowledge(); });
}

// Requests that are not answered are followed by a PING: a server applies the requests of a
// connection in order, so its echo says that they were. (torch's client sends PING itself when it
// connects; both of torch's servers answer it at any time.)
void C10dStore::write(Request& request, Code code, const std::vector<Bytes>& strings) {
  request.is_write = true;
  run(request, [&](Conversation& talk) {
    talk.put(code, strings);
    talk.acknowledge();
  });
}

void C10dStore::set(Bytes key, Bytes value) {
  check_key("set", key);
  check_value("set", key, value);
  WireKeys wire({key});
  Request request{"set", key, timeout()};
  write(request, Code::kSet, {wire.one(), value});
}

std::string C10dStore::get(Bytes key, Duration timeout) {
  check_key("get", key);
  WireKeys wire({key});
  Request request{"get", key, timeout, false, true};
  std::string value;
  // WAIT lets other requests of its connection pass, so a GET has to be sent after its answer; by
  // then the key may be gone again, or WAIT was content with a queue of that name.
  run(request, [&](Conversation& talk) {
    for (bool in_time = true;; talk.pause()) {
      if (std::optional<std::string> now = talk.value_of(wire.one())) {
        value = std::move(*now);
        return;
      }
      if (!in_time) {
        talk.throw_timeout(timeout_text("get", {key}, 1, talk.deadline().elapsed()));
      }
      in_time = talk.wait(Code::kWait, wire.all());
    }
  });
  return value;
}

// The answer is the value afterwards, which is `desired` also where it was before. So the value is
// read first, in the same packet; a client that writes just between the two can make `swapped`
// wrong, but only if it writes or removes `desired` itself.
Store::Exchange C10dStore::compare_exchange(Bytes key, Bytes expected, Bytes desired) {
  check_key("compare_set", key);
  check_value("compare_set", key, expected);
  check_value("compare_set", key, desired);
  WireKeys wire({key});
  Request request{"compare_set", key, timeout(), true};
  Exchange exchange;
  run(request, [&](Conversation& talk) {
    talk.put(Code::kCompareSet, {wire.one(), nobodys_value_, nobodys_value_});
    talk.put(Code::kCompareSet, {wire.one(), expected, desired});
    std::string before(talk.read(Code::kCompareSet).strings[0]);
    bool existed = before != nobodys_value_;
    exchange.value = talk.read(Code::kCompareSet).strings[0];
    if (exchange.value != desired) {
      // What was expected and not exchanged was not there: so a missing key is answered.
      exchange.exists = exchange.value != expected;
      if (!exchange.exists) exchange.value.clear();
    } else if (expected == desired) {
      exchange.exists = exchange.swapped = existed || desired.empty();
      if (!exchange.exists) exchange.value.clear();
    } else {
      exchange.exists = true;
      exchange.swapped = !existed || before != desired;
    }
  });
  return exchange;
}

int64_t C10dStore::add(Bytes key, int64_t amount) {
  check_key("add", key);
  return add_wire_key(WireKeys({key}).one(), key, amount);
}

int64_t C10dStore::add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount) {
  Request request{"add", shown_key, timeout(), true};
  int64_t sum = 0;
  run(request, [&](Conversation& talk) { sum = talk.ask(Code::kAdd, {wire_key}, amount).number; });
  return sum;
}

bool C10dStore::check(const std::vector<Bytes>& keys) {
  check_keys("check", keys);
  WireKeys wire(keys);
  Request request{"check", {}, timeout(), false, false, &keys};
  bool all = false;
  run(request, [&](Conversation& talk) { all = talk.ask(Code::kCheck, wire.all()).number == 0; });
  return all;
}

void C10dStore::wait(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("wait", keys);
  WireKeys wire(keys);
  Request request{"wait", {}, timeout, false, true, &keys};
  run(request, [&](Conversation& talk) {
    if (talk.wait(Code::kWait, wire.all())) return;
    std::vector<Bytes> missing = as_user_knows(talk.missing_of(wire.all()));
    if (missing.empty()) return;
    talk.throw_timeout(timeout_text("wait", missing, keys.size(), talk.deadline().elapsed()));
  });
}

bool C10dStore::delete_key(Bytes key) {
  check_key("delete_key", key);
  WireKeys wire({key});
  Request request{"delete_key", key, timeout(), true};
  bool there = false;
  run(request,
      [&](Conversation& talk) { there = talk.ask(Code::kDeleteKey, wire.all()).number > 0; });
  return there;
}

int64_t C10dStore::num_keys() {
  Request request{"num_keys", {}, timeout()};
  int64_t count = 0;
  run(request, [&](Conversation& talk) { count = talk.ask(Code::kNumKeys, {}).number; });
  return count;
}

// The server sends all its keys; those that no user has set carry no '/'.
std::vector<std::string> C10dStore::list_keys(Bytes prefix) {
  check_key("list_keys", prefix);
  WireKeys wire({prefix});
  Request request{"list_keys", prefix, timeout()};
  std::vector<std::string> keys;
  run(request, [&](Conversation& talk) {
    for (Bytes key : talk.ask(Code::kListKeys, {}).strings) {
      if (key.starts_with(wire.one())) keys.emplace_back(key.substr(1));
    }
  });
  std::sort(keys.begin(), keys.end());
  return keys;
}

void C10dStore::append(Bytes key, Bytes value) {
  check_key("append", key);
  check_value("append", key, value);
  WireKeys wire({key});
  Request request{"append", key, timeout()};
  write(request, Code::kAppend, {wire.one(), value});
}

// MULTI_GET answers a missing key with nothing, or not at all, so it is asked only for keys that
// were there; what comes empty is looked at once more. The values are as of one moment.
std::vector<std::string> C10dStore::multi_get(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("multi_get", keys);
  WireKeys wire(keys);
  Request request{"multi_get", {}, timeout, false, true, &keys};
  std::vector<std::string> values;
  if (keys.empty()) return values;
  run(request, [&](Conversation& talk) {
    for (;; talk.pause()) {
      std::vector<Bytes> missing;
      if (!talk.wait(Code::kWait, wire.all())) missing = talk.missing_of(wire.all());
      if (missing.empty()) {
        const c10d::Reply& reply = talk.ask(Code::kMultiGet, wire.all());
        values.assign(reply.strings.begin(), reply.strings.end());
        bool changed = false;
        for (size_t i = 0; i < values.size(); ++i) {
          if (!values[i].empty()) continue;
          std::optional<std::string> now = talk.value_of(wire.all()[i]);
          if (!now) missing.push_back(wire.all()[i]);
          changed = changed || !now || !now->empty();
        }
        if (!changed) return;
      }
      if (!talk.deadline().passed()) continue;
      talk.throw_timeout(timeout_text("multi_get", as_user_knows(missing), keys.size(),
                                      talk.deadline().elapsed()));
    }
  });
  return values;
}

void C10dStore::multi_set(const std::vector<Bytes>& pairs) {
  check_pairs("multi_set", pairs);
  std::vector<Bytes> keys;
  for (size_t i = 0; i < pairs.size(); i += 2) keys.push_back(pairs[i]);
  WireKeys wire(keys);
  std::vector<Bytes> strings = pairs;
  for (size_t i = 0; i < keys.size(); ++i) strings[2 * i] = wire.all()[i];
  Request request{"multi_set", {}, timeout(), true, false, &keys};
  write(request, Code::kMultiSet, strings);
}

// A server without queues closes the connection at them, after which nobody knows whether a push or
// a pop was applied. So the first of them is preceded by a read.
void C10dStore::need_queues(const char* name, Bytes key, const Deadline& deadline) {
  if (has_queues_) return;
  WireKeys wire({key});
  Request request{name, key, deadline.left(), false, true, nullptr, true};
  run(request, [&](Conversation& talk) { talk.ask(Code::kQueueLen, wire.all()); });
  has_queues_ = true;
}

void C10dStore::queue_push(Bytes key, Bytes item) {
  check_key("queue_push", key);
  check_value("queue_push", key, item);
  need_queues("queue_push", key, Deadline::after(timeout()));
  WireKeys wire({key});
  Request request{"queue_push", key, timeout()};
  write(request, Code::kQueuePush, {wire.one(), item});
}

// Somebody else may be faster between WAIT and QUEUE_POP, or WAIT was content with a key of that
// name.
std::string C10dStore::queue_pop(Bytes key, bool block, Duration timeout) {
  check_key("queue_pop", key);
  Deadline deadline = Deadline::after(block ? timeout : this->timeout());
  need_queues("queue_pop", key, deadline);
  WireKeys wire({key});
  Request request{"queue_pop", key, deadline.left(), false, true};
  std::string item;
  run(request, [&](Conversation& talk) {
    for (;; talk.pause()) {
      request.is_write = false;
      bool in_time = block && talk.wait(Code::kWait, wire.all());
      request.is_write = true;
      const c10d::Reply& reply = talk.ask(Code::kQueuePop, wire.all());
      if (reply.number > 0) {
        item = reply.strings[0];
        return;
      }
      if (!block) throw_queue_empty(key, describe());
      if (!in_time) talk.throw_timeout(queue_timeout_text(key, deadline.elapsed()));
    }
  });
  return item;
}

int64_t C10dStore::queue_len(Bytes key) {
  check_key("queue_len", key);
  WireKeys wire({key});
  Request request{"queue_len", key, timeout(), false, false, nullptr, true};
  int64_t size = 0;
  run(request, [&](Conversation& talk) { size = talk.ask(Code::kQueueLen, wire.all()).number; });
  has_queues_ = true;
  return size;
}

void C10dStore::barrier(Bytes key, int64_t world_size, Duration timeout) {
  check_key("barrier", key);
  check_world_size(key, world_size);
  WireKeys wire({key});
  Request request{"barrier", key, timeout, true, true};
  run(request, [&](Conversation& talk) {
    if (talk.wait(Code::kBarrier, wire.all(), world_size)) return;
    int64_t count = talk.ask(Code::kAdd, wire.all(), 0).number;
    talk.throw_timeout(barrier_timeout_text(key, count, world_size, talk.deadline().elapsed()));
  });
}

}  // namespace rdzv
