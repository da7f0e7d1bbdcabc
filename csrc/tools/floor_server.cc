// The floor: the least work that a one-thread epoll server can do for the stores' protocols. It
// looks for the end of each request and answers a constant; nothing is stored, checked or looked
// up. What a real server costs beside it in one run is its share of the limit. Not a store: never
// use it as one.
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/fd.h"
#include "net/socket.h"
#include "tools/process.h"
#include "wire/c10d.h"
#include "wire/messages.h"

namespace rdzv::tools {
namespace {

constexpr size_t kBufferBytes = 256 * 1024;
constexpr int kEventsMax = 1024;
constexpr int kBacklog = 65'535;

struct Peer {
  UniqueFd fd;
  std::string in;  // the beginning of a request
  bool knows_protocol = false;
  bool is_native = false;
};

class Floor {
 public:
  Floor(uint16_t port, size_t value_bytes, size_t hold) : value_(value_bytes, 'x'), hold_(hold) {
    raise_file_limit();
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    listener_ = open_socket(AF_INET);
    int on = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) !=
            0 ||
        ::listen(listener_.get(), kBacklog) != 0) {
      std::perror("floor_server: cannot listen");
      std::exit(1);
    }
    prepare_listener(listener_.get());
    watch(listener_.get());
    std::printf("%u\n", SocketAddress::local_of(listener_.get()).port());
    std::fflush(stdout);
  }

  [[noreturn]] void run() {
    std::vector<epoll_event> events(kEventsMax);
    for (;;) {
      int count = ::epoll_wait(epoll_.get(), events.data(), kEventsMax, -1);
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<size_t>(i)];
        if (event.data.fd == listener_.get()) {
          accept_all();
        } else {
          bool ended = (event.events & EPOLLRDHUP) != 0;
          serve(peers_[static_cast<size_t>(event.data.fd)], ended);
        }
      }
    }
  }

 private:
  void watch(int fd, uint32_t how = 0) {
    epoll_event event{};
    event.events = EPOLLIN | how;
    event.data.fd = fd;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }

  void accept_all() {
    SocketAddress from;
    while (UniqueFd fd = accept_from(listener_.get(), from)) {
      watch(fd.get(), EPOLLET | EPOLLRDHUP);
      auto index = static_cast<size_t>(fd.get());
      if (index >= peers_.size()) peers_.resize(index + 1);
      peers_[index] = Peer{std::move(fd), {}, false, false};
    }
  }

  // Each arrival is told once.
  void serve(Peer& peer, bool ended) {
    long got = 0;
    do {
      got = receive_some(peer.fd.get(), buffer_.data(), buffer_.size());
      if (got == kWouldBlock) return;
      if (got == kBroken) {
        peer = Peer();
        return;
      }
      answer(peer, Bytes(buffer_.data(), static_cast<size_t>(got)));
    } while (ended || static_cast<size_t>(got) == buffer_.size());
  }

  void answer(Peer& peer, Bytes arrived) {
    out_.clear();
    if (peer.in.empty()) {
      size_t used = answer_all(peer, arrived);
      peer.in.assign(arrived.substr(used));
    } else {
      peer.in.append(arrived);
      peer.in.erase(0, answer_all(peer, peer.in));
    }
    if (!out_.empty()) send_all(peer, out_);
  }

  // A peer that does not read holds up the others: enough for a floor.
  static void send_all(Peer& peer, Bytes bytes) {
    while (!bytes.empty()) {
      long moved = send_some(peer.fd.get(), bytes);
      if (moved == kBroken) return;
      if (moved == kWouldBlock) {
        wait_ready(peer.fd.get(), false, true, std::chrono::seconds(1));
      } else {
        bytes.remove_prefix(static_cast<size_t>(moved));
      }
    }
  }

  size_t answer_all(Peer& peer, Bytes input) {
    size_t used = 0;
    if (!peer.knows_protocol) {
      peer.is_native = input[0] == native::kMagic[0];
      if (peer.is_native && input.size() < native::kPreambleBytes) return 0;
      peer.knows_protocol = true;
      if (peer.is_native) used = native::kPreambleBytes;
    }
    while (used < input.size()) {
      Bytes rest = input.substr(used);
      size_t bytes = peer.is_native ? answer_native(peer, rest) : answer_c10d(rest);
      if (bytes == 0) break;
      used += bytes;
    }
    return used;
  }

  // Bytes of the request; 0 when it is not whole.
  size_t answer_c10d(Bytes input) {
    auto code = static_cast<c10d::Code>(input[0]);
    size_t end = 1;
    auto skip_string = [&] {
      if (end + 8 > input.size()) return false;
      end += 8 + load_little_endian<uint64_t>(input.data() + end);
      return end <= input.size();
    };
    switch (code) {
      case c10d::Code::kPing:
        if (input.size() < 5) return 0;
        out_.append(input.substr(1, 4));
        return 5;
      case c10d::Code::kGet:
        if (!skip_string()) return 0;
        c10d::put_bytes(out_, value_);
        return end;
      case c10d::Code::kSet:
        return skip_string() && skip_string() ? end : 0;
      case c10d::Code::kCompareSet:
        if (!skip_string() || !skip_string() || !skip_string()) return 0;
        c10d::put_bytes(out_, value_);
        return end;
      case c10d::Code::kCheck:
        end += 8;
        if (!skip_string()) return 0;
        c10d::put_u8(out_, 0);
        return end;
      case c10d::Code::kAdd:
        if (!skip_string() || input.size() < end + 8) return 0;
        c10d::put_i64(out_, 0);
        return end + 8;
      default:
        return input.size() < 5 ? 0 : 5;  // VALIDATE
    }
  }

  size_t answer_native(Peer& peer, Bytes input) {
    native::Frame frame;
    if (native::next_frame(input, frame) != native::Progress::kTaken) return 0;
    auto operation = static_cast<native::Operation>(frame.header.operation);
    frame.header.operation |= native::kReplyBit;
    if (operation == native::Operation::kJoin && hold_ > 0) {
      hold(peer, frame.header);
    } else {
      put_answer(out_, frame.header, operation);
    }
    return native::kHeaderBytes + frame.body.size();
  }

  void put_answer(std::string& out, const native::Header& header, native::Operation operation) {
    size_t begin = native::begin_frame(out, header);
    switch (operation) {
      case native::Operation::kHello:
        native::put(out, native::HelloReply{});
        break;
      case native::Operation::kGet:
        native::put(out, native::ValueReply{1, value_});
        break;
      case native::Operation::kAdd:
        native::put(out, native::AddReply{});
        break;
      case native::Operation::kSet:
        native::put(out, native::VersionReply{});
        break;
      case native::Operation::kCompareSet:
        native::put(out, native::CompareSetReply{});
        break;
      case native::Operation::kCheck:
        native::put(out, native::CheckReply{true});
        break;
      case native::Operation::kJoin:
        native::put(out, join_answer());
        break;
      case native::Operation::kKeepAlive:
        native::put(out, native::KeepAliveReply{true, 0, false});
        break;
      default:
        break;
    }
    native::end_frame(out, begin);
  }

  native::JoinReply join_answer() {
    native::JoinReply reply;
    reply.round = 1;
    reply.world_size = static_cast<uint32_t>(hold_);
    reply.rank = next_rank_++ % std::max(reply.world_size, 1U);
    reply.first.addr = "node0";
    return reply;
  }

  // A round: all are answered when the last one has come.
  void hold(Peer& peer, const native::Header& header) {
    held_.push_back({peer.fd.get(), header});
    if (held_.size() < hold_) return;
    std::string answer;
    for (const auto& [fd, held] : held_) {
      answer.clear();
      put_answer(answer, held, native::Operation::kJoin);
      send_all(peers_[static_cast<size_t>(fd)], answer);
    }
    held_.clear();
  }

  std::string value_;
  size_t hold_;
  uint32_t next_rank_ = 0;
  UniqueFd epoll_;
  UniqueFd listener_;
  std::vector<Peer> peers_;  // by descriptor
  std::vector<std::pair<int, native::Header>> held_;
  std::vector<char> buffer_ = std::vector<char>(kBufferBytes);
  std::string out_;
};

}  // namespace
}  // namespace rdzv::tools

int main(int argc, char** argv) {
  constexpr const char* kUsage =
      "floor_server PORT [VALUE_BYTES [HOLD]]\n"
      "A benchmark's floor, not a store: answers constants on 127.0.0.1, prints its port.\n"
      "PORT 0 picks one; answers to get are VALUE_BYTES (default 64) long; joins are answered "
      "when\n"
      "HOLD of them have arrived (default: at once).\n";
  if (argc < 2 || argc > 4 || std::string(argv[1]) == "--help") {
    std::fputs(kUsage, argc < 2 || argc > 4 ? stderr : stdout);
    return argc < 2 || argc > 4 ? 2 : 0;
  }
  size_t numbers[] = {0, 64, 0};
  for (int i = 1; i < argc; ++i) {
    char* end = nullptr;
    numbers[i - 1] = std::strtoul(argv[i], &end, 10);
    if (end == argv[i] || *end != '\0') {
      std::fprintf(stderr, "floor_server: '%s' is not a number\n%s", argv[i], kUsage);
      return 2;
    }
  }
  std::signal(SIGPIPE, SIG_IGN);
  rdzv::tools::Floor(static_cast<uint16_t>(numbers[0]), numbers[1], numbers[2]).run();
}
