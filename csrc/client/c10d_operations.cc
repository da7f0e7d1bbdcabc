// C10dStore's operations on values, composed of those that the c10d protocol has. A server may
// serve other connections between two requests of one operation, so where an operation takes
// several, its comment says what that means.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "client/c10d_call.h"
#include "client/c10d_store.h"

namespace rdzv {

using c10d::Code;

namespace {

[[noreturn]] void throw_unsupported(const char* operation, const C10dStore& store) {
  throw Error(ErrorCode::kUnsupported,
              std::string(operation) + " on " + store.describe() +
                  ": the c10d protocol has no such operation; use protocol=\"native\", with a "
                  "rendezvous server");
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

void C10dStore::set_for(Bytes key, Bytes value, Duration ttl) {
  if (ttl < kForever) throw_unsupported("set with a time to live", *this);
  check_key("set", key);
  check_value("set", key, value);
  WireKeys wire({key});
  Request request{"set", key, timeout()};
  write(request, Code::kSet, {wire.one(), value});
}

TakenBytes C10dStore::read(Bytes key, Duration timeout) {
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
        talk.throw_timeout(timeout_text("get", {key}, 1, talk.deadline().elapsed()),
                           missing_of({key}));
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
    const std::string after(talk.read(Code::kCompareSet).strings[0]);
    if (after != desired) {
      // What was expected and not exchanged was not there: so a missing key is answered.
      exchange.exists = after != expected;
    } else if (expected == desired) {
      exchange.exists = exchange.swapped = existed || desired.empty();
    } else {
      exchange.exists = true;
      exchange.swapped = !existed || before != desired;
    }
    if (exchange.exists && !exchange.swapped) exchange.value = after;
  });
  return exchange;
}

int64_t C10dStore::add(Bytes key, int64_t amount) {
  check_key("add", key);
  return add_wire_key(WireKeys({key}).one(), key, amount, timeout());
}

int64_t C10dStore::add_wire_key(Bytes wire_key, Bytes shown_key, int64_t amount, Duration timeout) {
  Request request{"add", shown_key, timeout, true};
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
    std::vector<Bytes> missing = talk.missing_of(wire.all());
    if (missing.empty()) return;
    for (Bytes& key : missing) key.remove_prefix(1);
    talk.throw_timeout(timeout_text("wait", missing, keys.size(), talk.deadline().elapsed()),
                       missing_of(missing));
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

std::vector<TakenBytes> C10dStore::multi_read(const std::vector<Bytes>& keys, Duration timeout) {
  check_keys("multi_get", keys);
  WireKeys wire(keys);
  Request request{"multi_get", {}, timeout, false, true, &keys};
  std::vector<TakenBytes> values;
  if (keys.empty()) return values;
  run(request, [&](Conversation& talk) {
    std::vector<Bytes> missing = talk.wait_for_values(wire.all(), values);
    if (missing.empty()) return;
    for (Bytes& key : missing) key.remove_prefix(1);
    talk.throw_timeout(timeout_text("multi_get", missing, keys.size(), talk.deadline().elapsed()),
                       missing_of(missing));
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

Store::Versioned C10dStore::try_get(Bytes key) {
  check_key("try_get", key);
  WireKeys wire({key});
  Request request{"try_get", key, timeout()};
  Versioned result;
  run(request, [&](Conversation& talk) {
    std::optional<std::string> now = talk.value_of(wire.one());
    result = now ? Versioned{std::move(*now), 1} : Versioned{};
  });
  return result;
}

Store::Versioned C10dStore::watch(Bytes, uint64_t, Duration) {
  throw_unsupported("watch", *this);
}

Store::VersionSet C10dStore::set_if_version(Bytes, Bytes, uint64_t) {
  throw_unsupported("set_if_version", *this);
}

int64_t C10dStore::delete_prefix(Bytes prefix) {
  check_key("delete_prefix", prefix);
  WireKeys wire({prefix});
  Request request{"delete_prefix", prefix, timeout()};
  int64_t count = 0;
  run(request, [&](Conversation& talk) {
    std::vector<std::string> keys;
    for (Bytes key : talk.ask(Code::kListKeys, {}).strings) {
      if (key.starts_with(wire.one())) keys.emplace_back(key);
    }
    request.is_write = true;
    for (const std::string& key : keys) talk.put(Code::kDeleteKey, {key});
    for (size_t left = keys.size(); left > 0; --left) {
      count += talk.read(Code::kDeleteKey).number > 0 ? 1 : 0;
    }
  });
  return count;
}

}  // namespace rdzv
