#include "tools/swarm.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>

#include "base/error.h"
#include "base/text.h"
#include "net/poller.h"
#include "net/socket.h"

namespace rdzv::tools {
namespace {

constexpr size_t kBufferBytes = 256 * 1024;
constexpr int kEventsMax = 1024;
constexpr uint64_t kErrorsMax = 1'000;
// What a connection keeps of a buffer that it needed once.
constexpr size_t kKeptBytes = 64 * 1024;

// None where there is to be no TLS.
std::shared_ptr<const tls::Credentials> credentials_of(const std::string& token_file) {
  if (token_file.empty()) return nullptr;
  std::ifstream file(token_file);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) throw Error(ErrorCode::kInvalidArgument, "--token-file: cannot read " + token_file);
  tls::Material material;
  material.tokens = tls::parse_tokens(text);
  return tls::Credentials::for_client(material);
}

}  // namespace

void AskedRing::push(const Asked& asked) {
  if (tail_ - head_ == ring_.size()) {
    std::vector<Asked> larger(ring_.size() * 2);
    for (size_t i = head_; i != tail_; ++i)
      larger[i & (larger.size() - 1)] = ring_[i & (ring_.size() - 1)];
    ring_.swap(larger);
  }
  ring_[tail_ & (ring_.size() - 1)] = asked;
  ++tail_;
}

bool AskedRing::take(Ask ask, Asked& taken) {
  size_t mask = ring_.size() - 1;
  for (size_t i = head_; i != tail_; ++i) {
    if (ring_[i & mask].ask != ask) continue;
    taken = ring_[i & mask];
    for (; i != head_; --i) ring_[i & mask] = ring_[(i - 1) & mask];
    ++head_;
    return true;
  }
  return false;
}

Swarm::Swarm(const Options& options, const Part& part, Protocol& protocol, Player& player)
    : options_(options),
      part_(part),
      protocol_(protocol),
      player_(player),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      buffer_(kBufferBytes),
      credentials_(credentials_of(options.token_file)) {
  prepare_dials();
  connections_.resize(options.connections);
  for (size_t i = 0; i < connections_.size(); ++i) connections_[i].index = static_cast<uint32_t>(i);
}

Swarm::~Swarm() {
  // Closed in the common way, tens of thousands of ports would wait in TIME_WAIT, and whoever asks
  // for a free one next (a server of the benchmark after this one) might get none.
  linger at_once{};
  at_once.l_onoff = 1;
  for (const Connection& connection : connections_) {
    if (connection.fd)
      ::setsockopt(connection.fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  }
}

void Swarm::run(const std::function<bool()>& done, const Deadline& deadline) {
  while (!done()) {
    if (deadline.passed()) {
      throw Error(ErrorCode::kTimeout,
                  options_.scenario + " has not ended after " + seconds_text(deadline.elapsed()) +
                      ": " + std::to_string(connected_) + " of " +
                      std::to_string(connections_.size()) + " connected" + why());
    }
    bool nobody_came = connected_ == 0 && dialing_ == 0 && errors_ > 0;
    if (errors_ >= kErrorsMax || nobody_came) {
      throw Error(ErrorCode::kConnection, options_.scenario + " against " + options_.host + ":" +
                                              std::to_string(options_.port) + ": " +
                                              std::to_string(errors_) +
                                              " requests or connections failed" + why());
    }
    turn(std::min<Duration>(deadline.left(), std::chrono::milliseconds(100)));
  }
}

std::string Swarm::why() const {
  std::string text = first_error_.empty() ? "" : "; the first failure: " + first_error_;
  if (connected_ < connections_.size() && options_.server_pid == 0)
    text += "; a server at its limit of open files keeps connections waiting (see --server-pid)";
  return text;
}

void Swarm::run_for(Duration duration) {
  Deadline deadline = Deadline::after(duration);
  while (!deadline.passed()) turn(deadline.left());
}

void Swarm::turn(Duration timeout) {
  dial_some();
  std::array<epoll_event, kEventsMax> events;
  int count = ::epoll_wait(epoll_.get(), events.data(), kEventsMax, poll_timeout_ms(timeout));
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    Connection& connection = connections_[event.data.u32];
    if (connection.fd) serve(connection, event.events);
  }
}

void Swarm::serve(Connection& connection, uint32_t events) {
  turn_began_ = now();
  if (connection.is_dialing && connection.asked.empty()) {
    finish_dial(connection);
    return;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(connection);
  if (connection.fd) flush(connection);
}

void Swarm::receive(Connection& connection) {
  for (;;) {
    long got = receive_some(connection.fd.get(), buffer_.data(), buffer_.size());
    if (got == kWouldBlock) return;
    if (got == kBroken) {
      lost(connection, errno == 0 ? "the server closed it" : errno_text(errno));
      return;
    }
    Bytes arrived(buffer_.data(), static_cast<size_t>(got));
    if (connection.secure != nullptr && !decrypt(connection, arrived)) return;
    take_answers(connection, arrived);
    if (!connection.fd || static_cast<size_t>(got) < buffer_.size()) return;
  }
}

bool Swarm::decrypt(Connection& connection, Bytes& arrived) {
  plain_.clear();
  connection.secure->receive(arrived, plain_);
  arrived = plain_;
  if (connection.secure->state() != tls::Session::State::kFailed) return true;
  const std::string why = connection.secure->failure();
  lost(connection, why);
  return false;
}

void Swarm::take_answers(Connection& connection, Bytes arrived) {
  size_t skipped = std::min(connection.skip, arrived.size());
  connection.skip -= skipped;
  arrived.remove_prefix(skipped);
  if (arrived.empty()) return;
  if (connection.in.empty()) {
    size_t used = take_whole(connection, arrived);
    if (connection.fd) connection.in.assign(arrived.substr(used));
  } else {
    connection.in.append(arrived);
    size_t used = take_whole(connection, connection.in);
    connection.in.erase(0, used);
  }
}

size_t Swarm::take_whole(Connection& connection, Bytes input) {
  size_t used = 0;
  while (used < input.size() && connection.fd) {
    if (connection.asked.empty()) {
      lost(connection, "an answer without a request");
      return input.size();
    }
    Asked asked = connection.asked.front();
    Answer answer;
    Bytes rest = input.substr(used);
    if (!protocol_.read(asked.ask, rest, answer)) break;
    if (!answer.ask) {
      connection.asked.pop();
    } else if (!connection.asked.take(*answer.ask, asked)) {
      lost(connection, "an answer without a request");
      return input.size();
    }
    size_t here = std::min(answer.bytes, rest.size());
    connection.skip = answer.bytes - here;
    used += here;
    if (!answer.error.empty()) fail(answer.error);
    if (asked.ask == Ask::kHello) {
      connection.is_dialing = false;
      --dialing_;
      ++connected_;
      player_.connected(connection);
    } else {
      player_.answered(connection, asked, answer);
    }
  }
  return used;
}

void Swarm::asked(Connection& connection, Ask ask, size_t begin) {
  protocol_.stamp(connection.out.data() + begin, connection.next_id++);
  connection.asked.push({ask, turn_began_});
}

void Swarm::flush(Connection& connection) {
  if (connection.secure != nullptr) {
    if (connection.secure->is_open()) {
      connection.secure->send(connection.out);
      connection.out.clear();
    }
    if (flush_secure(connection)) watch_writes(connection, !connection.secure->to_send().empty());
    return;
  }
  size_t sent = 0;
  while (sent < connection.out.size()) {
    long moved = send_some(connection.fd.get(), Bytes(connection.out).substr(sent));
    if (moved == kWouldBlock) break;
    if (moved == kBroken) {
      lost(connection, errno_text(errno));
      return;
    }
    sent += static_cast<size_t>(moved);
  }
  bool all = sent == connection.out.size();
  connection.out.erase(0, sent);
  if (all && connection.out.capacity() > kKeptBytes) connection.out.shrink_to_fit();
  watch_writes(connection, !all);
}

bool Swarm::flush_secure(Connection& connection) {
  for (Bytes out = connection.secure->to_send(); !out.empty(); out = connection.secure->to_send()) {
    const long moved = send_some(connection.fd.get(), out);
    if (moved == kWouldBlock) break;
    if (moved == kBroken) {
      lost(connection, errno_text(errno));
      return false;
    }
    connection.secure->on_sent(static_cast<size_t>(moved));
  }
  return true;
}

void Swarm::watch_writes(Connection& connection, bool wanted) {
  if (connection.wants_write == wanted) return;
  epoll_event event{};
  event.events = EPOLLIN | (wanted ? uint32_t{EPOLLOUT} : 0U);
  event.data.u32 = connection.index;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event);
  connection.wants_write = wanted;
}

void Swarm::drop(Connection& connection) {
  connection.fd.reset();
  connection.out.clear();
  connection.asked.clear();
  connection.skip = 0;
  connection.secure.reset();
}

void Swarm::redial(Connection& connection) {
  drop(connection);
  connection.in.clear();
  --connected_;
  connection.dialed = now();
  if (!dial(connection)) fail("connect: " + errno_text(errno));
}

void Swarm::lost(Connection& connection, const std::string& why) {
  if (connection.is_dialing) --dialing_;
  connection.is_dialing = false;
  drop(connection);
  fail("rank " + std::to_string(part_.first() + connection.index) + " lost its connection: " + why);
}

void Swarm::fail(const std::string& error) {
  if (errors_++ == 0) first_error_ = error;
}

}  // namespace rdzv::tools
