// The peers that speak text: Redis and Valkey (RESP2), memcached.
#include <charconv>
#include <initializer_list>

#include "tools/protocol.h"

namespace rdzv::tools {
namespace {

// The line at the beginning of the input, without its end; false when it is not whole.
bool take_line(Bytes input, Bytes& line) {
  size_t end = input.find("\r\n");
  if (end == Bytes::npos) return false;
  line = input.substr(0, end);
  return true;
}

int64_t number_in(Bytes text) {
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

class RespProtocol final : public Protocol {
 public:
  RespProtocol() : Protocol(Wire::kResp) {}

  void put_hello(std::string& out, uint32_t) override { put(out, {"PING"}); }
  bool put_set(std::string& out, Bytes key, Bytes value, bool) override {
    put(out, {"SET", key, value});
    return true;
  }
  void put_get(std::string& out, Bytes key) override { put(out, {"GET", key}); }
  void put_add(std::string& out, Bytes key) override { put(out, {"INCR", key}); }
  void put_check(std::string& out, Bytes key) override { put(out, {"EXISTS", key}); }

  // Redis has no compare-and-set of a value; a script is what its users write.
  void put_compare_set(std::string& out, Bytes key, Bytes value) override {
    put(out, {"EVAL",
              "local v=redis.call('GET',KEYS[1]) if v==ARGV[1] or (not v and ARGV[1]=='') then "
              "redis.call('SET',KEYS[1],ARGV[2]) return ARGV[2] end return v",
              "1", key, value, value});
  }

  // One item in a list: each waiter moves it to the list's other end, which wakes the next.
  void put_wait(std::string& out, Bytes key) override { put(out, {"BRPOPLPUSH", key, key, "0"}); }
  bool put_release(std::string& out, Bytes key) override {
    put(out, {"LPUSH", key, "1"});
    return true;
  }

  void put_multi_set(std::string& out, Bytes prefix, size_t keys, Bytes value) override {
    out += "*" + std::to_string(1 + 2 * keys) + "\r\n";
    put_word(out, "MSET");
    for (size_t i = 0; i < keys; ++i) {
      put_word(out, std::string(prefix) + std::to_string(i));
      put_word(out, value);
    }
  }

  bool read(Ask, Bytes input, Answer& answer) override {
    Bytes line;
    if (!take_line(input, line)) return false;
    answer.bytes = line.size() + 2;
    char kind = line.empty() ? '-' : line[0];
    if (kind == '-') answer.error = std::string(line);
    if (kind == ':') answer.number = number_in(line.substr(1));
    if (kind == '$') {
      int64_t size = number_in(line.substr(1));
      if (size >= 0) answer.bytes += static_cast<size_t>(size) + 2;
    }
    return true;
  }

 private:
  static void put_word(std::string& out, Bytes word) {
    out += "$" + std::to_string(word.size()) + "\r\n";
    out.append(word);
    out += "\r\n";
  }
  static void put(std::string& out, std::initializer_list<Bytes> words) {
    out += "*" + std::to_string(words.size()) + "\r\n";
    for (Bytes word : words) put_word(out, word);
  }
};

class MemcachedProtocol final : public Protocol {
 public:
  MemcachedProtocol() : Protocol(Wire::kMemcached) {}

  void put_hello(std::string& out, uint32_t) override { out += "version\r\n"; }
  bool put_set(std::string& out, Bytes key, Bytes value, bool) override {
    out += "set " + std::string(key) + " 0 0 " + std::to_string(value.size()) + "\r\n";
    out.append(value);
    out += "\r\n";
    return true;
  }
  void put_get(std::string& out, Bytes key) override { out += "get " + std::string(key) + "\r\n"; }
  void put_add(std::string& out, Bytes key) override {
    out += "incr " + std::string(key) + " 1\r\n";
  }
  void put_compare_set(std::string&, Bytes, Bytes) override { cannot("compare_set"); }
  void put_check(std::string&, Bytes) override { cannot("check"); }
  void put_wait(std::string&, Bytes) override { cannot("way to wait"); }
  bool put_release(std::string&, Bytes) override { cannot("way to wait"); }

  bool read(Ask ask, Bytes input, Answer& answer) override {
    Bytes line;
    if (!take_line(input, line)) return false;
    answer.bytes = line.size() + 2;
    if (line.substr(0, 6) == "VALUE ") {
      int64_t size = number_in(line.substr(line.rfind(' ') + 1));
      answer.bytes += static_cast<size_t>(size) + 2 + Bytes("END\r\n").size();
    } else if (ask == Ask::kAdd && !line.empty() && line[0] >= '0' && line[0] <= '9') {
      answer.number = number_in(line);
    } else if (ask == Ask::kAdd || line.find("ERROR") != Bytes::npos) {
      answer.error = std::string(line);
    }
    return true;
  }
};

}  // namespace

std::unique_ptr<Protocol> make_resp() {
  return std::make_unique<RespProtocol>();
}

std::unique_ptr<Protocol> make_memcached() {
  return std::make_unique<MemcachedProtocol>();
}

}  // namespace rdzv::tools
