// The native protocol's side of the load driver.
#include "base/random.h"
#include "tools/protocol.h"
#include "wire/native.h"

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
    size_t begin = this->begin(out, Operation::kHello);
    native::put_hello(out, hello);
    native::end_frame(out, begin);
  }

  bool put_set(std::string& out, Bytes key, Bytes value, bool) override {
    size_t frame = begin(out, Operation::kSet);
    put_key(out, key);
    native::put_string(out, value);
    native::end_frame(out, frame);
    return true;
  }

  void put_get(std::string& out, Bytes key) override {
    size_t frame = begin(out, Operation::kGet);
    native::put_u32(out, 0);
    put_key(out, key);
    native::end_frame(out, frame);
  }

  void put_add(std::string& out, Bytes key) override {
    size_t frame = begin(out, Operation::kAdd);
    put_key(out, key);
    native::put_u64(out, 1);
    native::end_frame(out, frame);
  }

  void put_compare_set(std::string& out, Bytes key, Bytes value) override {
    size_t frame = begin(out, Operation::kCompareSet);
    put_key(out, key);
    native::put_string(out, value);
    native::put_string(out, value);
    native::end_frame(out, frame);
  }

  void put_check(std::string& out, Bytes key) override { put_keys(out, Operation::kCheck, key); }
  void put_wait(std::string& out, Bytes key) override { put_keys(out, Operation::kWait, key); }
  bool put_release(std::string& out, Bytes key) override { return put_set(out, key, "1", true); }

  void put_barrier(std::string& out, Bytes key, uint64_t world_size) override {
    size_t frame = begin(out, Operation::kBarrier);
    native::put_u32(out, native::kNoTimeout);
    put_key(out, key);
    native::put_u64(out, world_size);
    native::put_u64(out, static_cast<uint64_t>(native::kRanklessCaller));
    native::put_u64(out, 1);
    native::put_u64(out, 0);
    native::end_frame(out, frame);
  }

  bool put_exchange(std::string& out, Bytes key, uint64_t rank, uint64_t world_size,
                    Bytes value) override {
    size_t frame = begin(out, Operation::kExchange);
    native::put_u32(out, native::kNoTimeout);
    put_key(out, key);
    native::put_u64(out, rank);
    native::put_u64(out, world_size);
    native::put_string(out, value);
    native::end_frame(out, frame);
    return true;
  }

  void put_wait_all(std::string& out, Bytes prefix, size_t keys) override {
    put_timed_keys(out, Operation::kWait, prefix, keys);
  }

  void put_multi_get(std::string& out, Bytes prefix, size_t keys, size_t) override {
    put_timed_keys(out, Operation::kMultiGet, prefix, keys);
  }

  void put_multi_set(std::string& out, Bytes prefix, size_t keys, Bytes value) override {
    size_t frame = begin(out, Operation::kMultiSet);
    native::put_u32(out, static_cast<uint32_t>(keys));
    for (size_t i = 0; i < keys; ++i) {
      put_key(out, std::string(prefix) + std::to_string(i));
      native::put_string(out, value);
    }
    native::end_frame(out, frame);
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
    ByteReader reader(answer.body);
    if (status != 0) {
      uint32_t size = reader.u32();
      answer.error = "status " + std::to_string(status) + ": " + std::string(reader.take(size));
    } else if (ask == Ask::kAdd) {
      answer.number = reader.i64();
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

  static size_t begin(std::string& out, Operation operation) {
    native::Header header;
    header.operation = static_cast<uint8_t>(operation);
    return native::begin_frame(out, header);
  }

  static void put_key(std::string& out, Bytes key) {
    native::put_u32(out, static_cast<uint32_t>(key.size() + 1));
    out.push_back('/');
    out.append(key);
  }

  // Each list is made once.
  void put_timed_keys(std::string& out, Operation operation, Bytes prefix, size_t keys) {
    if (keys_.empty()) {
      native::put_u32(keys_, native::kNoTimeout);
      native::put_u32(keys_, static_cast<uint32_t>(keys));
      for (size_t i = 0; i < keys; ++i) put_key(keys_, std::string(prefix) + std::to_string(i));
    }
    size_t frame = begin(out, operation);
    out.append(keys_);
    native::end_frame(out, frame);
  }

  static void put_keys(std::string& out, Operation operation, Bytes key) {
    size_t frame = begin(out, operation);
    if (operation == Operation::kWait) native::put_u32(out, native::kNoTimeout);
    native::put_u32(out, 1);
    put_key(out, key);
    native::end_frame(out, frame);
  }

  native::Id128 session_{};
  std::string keys_;
};

}  // namespace

std::unique_ptr<Protocol> make_native() {
  return std::make_unique<NativeProtocol>();
}

}  // namespace rdzv::tools
