// c10d's side of the load driver: keys carry the '/' that torch's clients put before them.
#include "tools/protocol.h"
#include "wire/c10d.h"

namespace rdzv::tools {
namespace {

using c10d::Code;

class C10dProtocol final : public Protocol {
 public:
  C10dProtocol() : Protocol(Wire::kC10d) {}

  void put_hello(std::string& out, uint32_t nonce) override {
    c10d::put_request(out, Code::kValidate, {}, c10d::kMagic);
    c10d::put_request(out, Code::kPing, {}, nonce);
  }

  bool put_set(std::string& out, Bytes key, Bytes value, bool acknowledged) override {
    c10d::put_request(out, Code::kSet, {wire_key(key), value});
    if (acknowledged) c10d::put_request(out, Code::kPing, {}, 1);
    return acknowledged;
  }

  void put_get(std::string& out, Bytes key) override {
    c10d::put_request(out, Code::kGet, {wire_key(key)});
  }
  void put_add(std::string& out, Bytes key) override {
    c10d::put_request(out, Code::kAdd, {wire_key(key)}, 1);
  }
  void put_compare_set(std::string& out, Bytes key, Bytes value) override {
    c10d::put_request(out, Code::kCompareSet, {wire_key(key), value, value});
  }
  void put_check(std::string& out, Bytes key) override {
    c10d::put_request(out, Code::kCheck, {wire_key(key)});
  }
  void put_wait(std::string& out, Bytes key) override {
    c10d::put_request(out, Code::kWait, {wire_key(key)});
  }
  bool put_release(std::string& out, Bytes key) override { return put_set(out, key, "1", false); }

  void put_barrier(std::string& out, Bytes key, uint64_t world_size) override {
    c10d::put_request(out, Code::kBarrier, {wire_key(key)}, static_cast<int64_t>(world_size));
  }

  bool put_exchange(std::string& out, Bytes key, uint64_t rank, uint64_t world_size,
                    Bytes value) override {
    std::string prefix = "/" + std::string(key);
    c10d::put_request(out, Code::kSet, {prefix + "/" + std::to_string(rank), value});
    put_barrier(out, key, world_size);
    return false;
  }

  void put_gather(std::string& out, Bytes key, uint64_t world_size, size_t value_bytes) override {
    put_multi_get(out, std::string(key) + "/", static_cast<size_t>(world_size), value_bytes);
  }

  void put_wait_all(std::string& out, Bytes prefix, size_t keys) override {
    if (wait_all_.empty()) put_keys(wait_all_, Code::kWait, prefix, keys);
    out.append(wait_all_);
  }

  void put_multi_get(std::string& out, Bytes prefix, size_t keys, size_t value_bytes) override {
    if (gather_.empty()) put_keys(gather_, Code::kMultiGet, prefix, keys);
    gather_answer_bytes_ = keys * (8 + value_bytes);
    out.append(gather_);
  }

  void put_multi_set(std::string& out, Bytes prefix, size_t keys, Bytes value) override {
    std::vector<std::string> owned;
    for (size_t i = 0; i < keys; ++i)
      owned.push_back("/" + std::string(prefix) + std::to_string(i));
    std::vector<Bytes> strings;
    for (const std::string& key : owned) {
      strings.push_back(key);
      strings.push_back(value);
    }
    c10d::put_request(out, Code::kMultiSet, strings);
    c10d::put_request(out, Code::kPing, {}, 1);
  }

  bool read(Ask ask, Bytes input, Answer& answer) override {
    switch (ask) {
      case Ask::kHello:
      case Ask::kSet:
      case Ask::kMultiSet:
        answer.bytes = 4;
        return input.size() >= 4;
      case Ask::kCheck:
      case Ask::kWait:
      case Ask::kBarrier:
        answer.bytes = 1;
        return !input.empty();
      case Ask::kGather:
        answer.bytes = gather_answer_bytes_;
        return !input.empty();
      default:
        break;
    }
    if (input.size() < 8) return false;
    auto number = load_little_endian<uint64_t>(input.data());
    answer.number = static_cast<int64_t>(number);
    answer.bytes = ask == Ask::kAdd ? 8 : 8 + static_cast<size_t>(number);
    return true;
  }

 private:
  static void put_keys(std::string& out, Code code, Bytes prefix, size_t keys) {
    std::vector<std::string> owned;
    for (size_t i = 0; i < keys; ++i)
      owned.push_back("/" + std::string(prefix) + std::to_string(i));
    c10d::put_request(out, code, {owned.begin(), owned.end()});
  }

  // Valid until the next call.
  Bytes wire_key(Bytes key) {
    key_.assign("/");
    key_.append(key);
    return key_;
  }

  std::string key_;
  // The same for every rank.
  std::string gather_;
  std::string wait_all_;
  size_t gather_answer_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Protocol> make_c10d() {
  return std::make_unique<C10dProtocol>();
}

}  // namespace rdzv::tools
