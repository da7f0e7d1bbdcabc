#include "server/native_protocol.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "base/version.h"
#include "wire/limits.h"

namespace rdzv {

using native::Header;
using native::Operation;

namespace {

bool names_another_channel(Bytes input, Bytes value) {
  native::Frame frame;
  for (; native::next_frame(input, frame, std::exchange(value, {})) == native::Progress::kTaken;
       input.remove_prefix(native::kHeaderBytes + frame.body.size())) {
    if (frame.header.channel != 0) return true;
  }
  return input.size() >= native::kHeaderBytes && frame.header.channel != 0;
}

}  // namespace

NativeProtocol::NativeProtocol(Connection& connection, ServerContext& context)
    : Protocol(connection), context_(context), first_(*this, connection, context, 0, 0) {}

size_t NativeProtocol::consume(Bytes input, Bytes value) {
  context_.expire();
  size_t consumed = preamble_seen_ ? 0 : consume_preamble(input);
  if (!preamble_seen_) return 0;
  missing_ = 0;
  while (!connection().closed()) {
    if (first_.is_in_request() && shared_ == nullptr) {
      if (names_another_channel(input.substr(consumed), value)) share();
      if (shared_ == nullptr && !first_.finish_long_request()) break;
    }
    if (shared_ == nullptr && context_.budget.is_spent()) break;
    if (consumed == input.size() || connection().congested()) break;
    native::Frame frame;
    const native::Progress progress = native::next_frame(input.substr(consumed), frame, value);
    if (progress != native::Progress::kTaken) {
      note_unfinished(progress, frame, input.size() - consumed);
      break;
    }
    const size_t bytes = native::kHeaderBytes + frame.body.size();
    const bool is_plain = shared_ == nullptr && hello_seen_ && frame.header.channel == 0;
    if (is_plain && frame.header.id >> native::kIdBits == 0) {
      first_.serve(frame);
    } else if (!serve(frame, input.substr(consumed, bytes))) {
      break;
    }
    consumed += bytes;
    value = {};
    context_.budget.count_request();
  }
  return consumed;
}

// What is not plain: before HELLO, or of a shared connection. False: it is put aside nowhere, and
// comes again.
bool NativeProtocol::serve(const native::Frame& frame, Bytes bytes) {
  const Header& header = frame.header;
  if (header.id >> native::kIdBits != 0) {
    first_.reply_error(header, ErrorCode::kProtocol, "a request id must be below 2^48");
    return true;
  }
  if (!hello_seen_) {
    hello(frame);
    return true;
  }
  if (shared_ == nullptr) share();
  NativeChannel* channel = open(header);
  if (channel == nullptr) return true;
  if (channel->is_ready() && !context_.budget.is_spent()) {
    channel->serve(frame);
  } else if (!channel->put_aside(bytes, frame.tail)) {
    shared_->is_held_back = true;
    return false;
  }
  channel->take_debt();
  if (!connection().closed()) channel->go_on_later();
  return true;
}

// Of the frame that begins there, so many bytes have come.
void NativeProtocol::note_unfinished(native::Progress progress, const native::Frame& frame,
                                     size_t there) {
  if (progress == native::Progress::kMalformed) {
    connection().close("a frame of " + std::to_string(frame.header.body_bytes) +
                       " bytes; the limit is " + std::to_string(limits::kRequestBytesMax));
  } else if (there >= native::kHeaderBytes) {
    missing_ = native::kHeaderBytes + frame.header.body_bytes - there;
  }
}

size_t NativeProtocol::value_begin(Bytes input) const {
  constexpr size_t kWorthIt = 64 * 1024;
  native::Frame frame;
  if (!hello_seen_ || missing_ < kWorthIt ||
      native::next_frame(input, frame) != native::Progress::kNeedMore)
    return 0;
  const size_t begin = NativeChannel::value_begin(
      frame.header.operation, input.substr(native::kHeaderBytes), frame.header.body_bytes);
  return begin == 0 ? 0 : native::kHeaderBytes + begin;
}

size_t NativeProtocol::consume_preamble(Bytes input) {
  native::Preamble preamble;
  const native::Progress progress = native::take_preamble(input, preamble);
  if (progress == native::Progress::kNotMine) {
    connection().close("it speaks neither the native nor the c10d protocol; its first bytes are " +
                       quoted(input.substr(0, 16)));
  }
  if (progress != native::Progress::kTaken) return 0;
  preamble_seen_ = true;
  if (preamble.version_min > native::kVersion || preamble.version_max < native::kVersion) {
    Header header;
    header.operation = static_cast<uint8_t>(Operation::kHello);
    first_.reply_error(header, ErrorCode::kUnsupported,
                       "this server speaks version " + std::to_string(native::kVersion) +
                           " of the protocol, the client speaks " +
                           std::to_string(preamble.version_min) + " to " +
                           std::to_string(preamble.version_max));
    connection().close("no common version of the protocol");
  }
  return native::kPreambleBytes;
}

NativeProtocol::~NativeProtocol() {
  if (host_ != nullptr) context_.hosts.go(*host_, host_name_);
}

void NativeProtocol::hello(const native::Frame& frame) {
  native::HelloRequest request;
  if (native::take_request(frame, request) != native::Progress::kTaken) {
    connection().close("its first frame is not a HELLO");
    return;
  }
  hello_seen_ = true;
  if (!request.space.empty() && request.space != context_.space) {
    const std::string why = "this connection is in the name space " + quoted(context_.space) +
                            ", as its token says, and not in " + quoted(request.space, 64) +
                            ": name no other, or use a token of that one";
    first_.reply_error(frame.header, ErrorCode::kRefused, why);
    connection().refuse(why);
    return;
  }
  const std::string observed = connection().peer_host();
  host_name_ = observed;
  host_ = &context_.hosts.come(host_name_);
  std::string server = std::string("rendezvous ") + kVersion;
  native::HelloReply hello;
  if (context_.commons.is_of_one_job) hello.features |= native::kOfOneJob;
  hello.instance = context_.instance;
  hello.observed_address = observed;
  hello.server = server;
  hello.key_bytes_max = limits::kWireKeyBytesMax;
  hello.value_bytes_max = static_cast<uint32_t>(context_.limits.value_bytes);
  hello.keys_per_request_max = limits::kKeysPerRequestMax;
  first_.reply(frame.header, hello);
}

// The first channel goes on as the others do.
void NativeProtocol::share() {
  shared_ = std::make_unique<Shared>(context_.state.seed());
  shared_->sent = shared_->counted = connection().sent();
  count_unsent_of(first_);
  connection().share();
  first_.go_on_later();
}

NativeChannel* NativeProtocol::find(uint16_t number) {
  if (number == 0) return &first_;
  if (shared_ == nullptr) return nullptr;
  const auto found = shared_->others.find(number);
  return found == shared_->others.end() ? nullptr : found->second.get();
}

// Null: there are too many, and it was answered.
NativeChannel* NativeProtocol::open(const Header& header) {
  if (NativeChannel* channel = find(header.channel)) return channel;
  if (shared_->others.size() + 1 >= limits::kChannelsPerConnectionMax) {
    first_.reply_error(header, ErrorCode::kLimit,
                       "channel " + std::to_string(header.channel) +
                           ": this connection already has " +
                           std::to_string(limits::kChannelsPerConnectionMax) +
                           " channels, the most allowed; close some");
    return nullptr;
  }
  auto made = std::make_unique<NativeChannel>(*this, connection(), context_, header.channel,
                                              ++shared_->serials);
  return shared_->others.emplace(header.channel, std::move(made)).first->second.get();
}

// What it is sent behind its end opens it anew.
void NativeProtocol::close(const NativeChannel& channel) {
  const auto is_it = [&](const auto& other) { return other.second.get() == &channel; };
  const auto found = std::find_if(shared_->others.begin(), shared_->others.end(), is_it);
  auto closed = shared_->others.extract(found);
  const std::string aside = closed.mapped()->take_aside();
  closed.mapped().reset();
  native::Frame frame;
  if (native::next_frame(aside, frame) == native::Progress::kTaken) {
    NativeChannel* again = open(frame.header);
    again->put_aside(aside);
    again->go_on_later();
  }
  go_on_reading();
}

void NativeProtocol::go_on_reading() {
  if (std::exchange(shared_->is_held_back, false)) connection().look_again();
}

void NativeProtocol::count_unsent_of(NativeChannel& channel) {
  const uint64_t made = connection().sent() + connection().unsent();
  if (made <= shared_->counted) return;
  channel.add_unsent(made - std::exchange(shared_->counted, made));
  std::deque<Part>& unsent = shared_->unsent;
  if (!unsent.empty() && unsent.back().serial == channel.serial()) {
    unsent.back().end = made;
  } else {
    unsent.push_back({channel.number(), channel.serial(), made});
  }
}

void NativeProtocol::on_sent() {
  if (shared_ == nullptr) return;
  std::deque<Part>& unsent = shared_->unsent;
  while (!unsent.empty() && shared_->sent < connection().sent()) {
    const Part& part = unsent.front();
    const uint64_t until = std::min(part.end, connection().sent());
    NativeChannel* channel = find(part.channel);
    // One that was closed since is another one.
    if (channel != nullptr && channel->serial() == part.serial)
      channel->remove_unsent(until - shared_->sent);
    shared_->sent = until;
    if (until == part.end) unsent.pop_front();
  }
  if (connection().congested()) return;
  for_each_channel([](NativeChannel& channel) { channel.go_on_later(); });
}

template <typename Visit>
void NativeProtocol::for_each_channel(Visit&& visit) {
  visit(first_);
  if (shared_ == nullptr) return;
  for (const auto& [number, channel] : shared_->others) visit(*channel);
}

bool NativeProtocol::leave(Budget& budget) {
  bool is_all = true;
  for_each_channel([&](NativeChannel& channel) { is_all = is_all && channel.leave(budget); });
  return is_all;
}

std::unique_ptr<Protocol> make_native_protocol(Connection& connection, ServerContext& context) {
  return std::make_unique<NativeProtocol>(connection, context);
}

}  // namespace rdzv
