// The native protocol's side of the load driver.
#include <string>
#include <vector>

#include "base/random.h"
#include "tools/protocol.h"
#include "wire/messages.h"

namespace rdzv::tools {
namespace {

using native::Operation;

constexpr size_t kIdAt = 8;  // in a frame's header

class NativeProtocol final : public Protocol {
 public:
  NativeProtocol() : Protocol(Wire::kNative) { fill_random(session_.data(), session_.size()); }

  void put_hello(std::string& out, uint32_t nonce) override {
    native::put_preamble(out);
    native::HelloRequest hello;
    hello.session = session_;
    for (size_t i = 0; i < sizeof(nonce); ++i)
      hello.session[i] = static_cast<uint8_t>(nonce >> (8 * i));
    hello.client = "load_driver";
    put(out, hello);
  }

  bool put_set(std::string& out, Bytes key, Bytes value, bool) override {
    put(out, native::SetRequest{key, value});
    return true;
  }
  void put_get(std::string& out, Bytes key) override { put(out, native::GetRequest{0, key}); }
  void put_add(std::string& out, Bytes key) override { put(out, native::AddRequest{key, 1}); }
  void put_compare_set(std::string& out, Bytes key, Bytes value) override {
    put(out, native::CompareSetRequest{key, value, value});
  }
  void put_check(std::string& out, Bytes key) override {
    put(out, native::CheckRequest{{{&key, 1}}});
  }
  void put_wait(std::string& out, Bytes key) override {
    put(out, native::WaitRequest{native::kNoTimeout, {{&key, 1}}});
  }
  bool put_release(std::string& out, Bytes key) override { return put_set(out, key, "1", true); }

  void put_barrier(std::string& out, Bytes key, uint64_t world_size) override {
    put(out, native::BarrierRequest{native::kNoTimeout, key, static_cast<int64_t>(world_size)});
  }

  bool put_exchange(std::string& out, Bytes key, uint64_t rank, uint64_t world_size,
                    Bytes value) override {
    put(out, native::ExchangeRequest{native::kNoTimeout, key, static_cast<int64_t>(rank),
                                     static_cast<int64_t>(world_size), value});
    return true;
  }

  void put_wait_all(std::string& out, Bytes prefix, size_t keys) override {
    put_timed_keys<native::WaitRequest>(out, prefix, keys);
  }

  void put_multi_get(std::string& out, Bytes prefix, size_t keys, size_t) override {
    put_timed_keys<native::MultiGetRequest>(out, prefix, keys);
  }

  void put_multi_set(std::string& out, Bytes prefix, size_t keys, Bytes value) override {
    const std::vector<std::string> names = names_of(prefix, keys);
    std::vector<Bytes> pairs;
    for (const std::string& name : names) pairs.insert(pairs.end(), {name, value});
    put(out, native::MultiSetRequest{{pairs}});
  }

  void stamp(char* request, uint64_t id) override {
    for (size_t i = 0; i < sizeof(id); ++i)
      request[kIdAt + i] = static_cast<char>((id >> (8 * i)) & 0xFF);
  }

  bool read(Ask ask, Bytes input, Answer& answer) override {
    if (input.size() < native::kHeaderBytes) return false;
    auto body_bytes = load_little_endian<uint32_t>(input.data());
    auto status = static_cast<uint8_t>(input[5]);
    answer.bytes = native::kHeaderBytes + body_bytes;
    answer.ask = ask_of(input[4]);
    bool body_is_read = status != 0 || ask == Ask::kAdd || answer.ask;
    if (!body_is_read) return true;
    if (input.size() < answer.bytes) return false;
    answer.body = input.substr(native::kHeaderBytes, body_bytes);
    native::ErrorReply error;
    native::AddReply added;
    if (status != 0) {
      native::take(answer.body, error);
      answer.error = "status " + std::to_string(status) + ": " + std::string(error.message);
    } else if (ask == Ask::kAdd && native::take(answer.body, added)) {
      answer.number = added.sum;
    }
    return true;
  }

 private:
  // Operations on runs wait, and those behind them do not.
  static std::optional<Ask> ask_of(char operation) {
    switch (static_cast<Operation>(operation & ~native::kReplyBit)) {
      case Operation::kJoin:
        return Ask::kJoin;
      case Operation::kKeepAlive:
        return Ask::kKeepAlive;
      case Operation::kSubscribe:
        return Ask::kSubscribe;
      default:
        return std::nullopt;
    }
  }

  template <typename Request>
  static void put(std::string& out, const Request& request) {
    native::put_request(out, request, native::kUsersPrefix);
  }

  static std::vector<std::string> names_of(Bytes prefix, size_t keys) {
    std::vector<std::string> names;
    for (size_t i = 0; i < keys; ++i) names.push_back(std::string(prefix) + std::to_string(i));
    return names;
  }

  // Each list is made once.
  template <typename Request>
  void put_timed_keys(std::string& out, Bytes prefix, size_t keys) {
    if (keys_.empty()) {
      const std::vector<std::string> names = names_of(prefix, keys);
      const std::vector<Bytes> views(names.begin(), names.end());
      put(keys_, Request{native::kNoTimeout, {views}});
    }
    out.append(keys_);
  }

  native::Id128 session_{};
  std::string keys_;  // the frame that asks for them
};

}  // namespace

std::unique_ptr<Protocol> make_native() {
  return std::make_unique<NativeProtocol>();
}

}  // namespace rdzv::tools
