// Which operation of the native protocol is whose, and what kind of work it is: the one place where
// that is said.
#include <algorithm>
#include <array>
#include <type_traits>

#include "server/native_channel.h"
#include "server/native_runs.h"

namespace rdzv {

using native::Frame;
using native::Header;

namespace {

// Takes a request whose keys many may ask for: a list that is remembered is not read again.
class TakeShared : public native::Take {
 public:
  TakeShared(Bytes body, ServerContext& context, SharedKeys& shared)
      : Take(body, &context.strings), context_(context), shared_(shared) {}

  using Take::field;
  void field(const char* name, native::Keys& keys) {
    constexpr auto kForm = AnswerCache::Form::kNative;
    const Bytes list = rest();
    const bool are_many = list.size() >= sizeof(uint32_t) &&
                          load_little_endian<uint32_t>(list.data()) >= AnswerCache::kKeysMin;
    if (are_many) shared_ = context_.composed.answers.find(kForm, list);
    if (shared_ != nullptr) return skip_rest();
    Take::field(name, keys);
    if (!is_whole()) return;
    context_.budget.spend(keys.strings.size() * Budget::kKey);
    if (are_many) shared_ = context_.composed.answers.remember(kForm, list, context_.strings);
  }

 private:
  ServerContext& context_;
  SharedKeys& shared_;
};

}  // namespace

// Each form of a handler, called with what the body says. False: it is malformed.
struct NativeChannel::Serving {
  template <typename Owner>
  static Owner& part(NativeChannel& channel) {
    if constexpr (std::is_same_v<Owner, NativeRuns>) {
      return channel.runs();
    } else {
      return channel;
    }
  }

  template <typename Request>
  static bool take(NativeChannel& channel, const Frame& frame, Request& request) {
    std::vector<Bytes>* strings = &channel.context_.strings;
    if (frame.tail.empty()) return native::take(frame.body, request, strings);
    native::TakeTail take(frame.body, frame.tail, strings);
    Request::fields(take, request);
    return take.is_whole();
  }

  // Of what a request stores, the largest.
  template <typename Request>
  static size_t largest_value(const NativeChannel& channel, const Request& request) {
    if constexpr (requires { request.pairs; }) {
      size_t largest = 0;
      const std::vector<Bytes>& strings = channel.context_.strings;
      for (size_t i = 1; i < strings.size(); i += 2) largest = std::max(largest, strings[i].size());
      return largest;
    } else if constexpr (requires { request.desired; }) {
      return request.desired.size();
    } else if constexpr (requires { request.item; }) {
      return request.item.size();
    } else if constexpr (requires { request.value; }) {
      return request.value.size();
    } else {
      return 0;
    }
  }
  // False: it was refused.
  template <typename Request>
  static bool fits(NativeChannel& channel, const Frame& frame, const Request& request) {
    const uint64_t most = channel.context_.limits.value_bytes;
    if (most >= limits::kValueBytesMax) return true;
    const size_t largest = largest_value(channel, request);
    if (largest <= most) return true;
    channel.reply_error(frame.header, ErrorCode::kLimit,
                        std::string(Request::Is::kName) + ": " + too_large_text(largest, most));
    return false;
  }

  template <typename Request>
  static size_t value_begin(Bytes begin, size_t body_bytes) {
    native::TakeTail take(begin, {});
    Request request;
    Request::fields(take, request);
    return take.begin(body_bytes);
  }

  template <typename Owner, typename Reply, typename Request>
  static bool call(NativeChannel& channel, const Frame& frame,
                   Reply (Owner::*handler)(const Request&)) {
    Request request;
    if (!take(channel, frame, request)) return false;
    if (!fits(channel, frame, request)) return true;
    channel.reply(frame.header, (part<Owner>(channel).*handler)(request));
    return true;
  }

  template <typename Owner, typename Request>
  static bool call(NativeChannel& channel, const Frame& frame,
                   void (Owner::*handler)(const Header&, const Request&)) {
    Request request;
    if (!take(channel, frame, request)) return false;
    if (!fits(channel, frame, request)) return true;
    (part<Owner>(channel).*handler)(frame.header, request);
    return true;
  }

  template <typename Request>
  static bool call(NativeChannel& channel, const Frame& frame,
                   void (NativeChannel::*handler)(const Header&, const Request&,
                                                  const SharedKeys&)) {
    Request request;
    SharedKeys shared;
    TakeShared take(frame.body, channel.context_, shared);
    Request::fields(take, request);
    if (!take.is_whole()) return false;
    (channel.*handler)(frame.header, request, shared);
    return true;
  }

  template <typename Owner, typename Reply, typename Request>
  static Request request_of(Reply (Owner::*)(const Request&));
  template <typename Owner, typename Request, typename... Rest>
  static Request request_of(void (Owner::*)(const Header&, const Request&, Rest...));

  template <auto kHandler>
  static constexpr Served by(Kind kind, Right right) {
    using Request = decltype(request_of(kHandler));
    return {
        Request::Is::kOperation, kind, right,
        [](NativeChannel& channel, const Frame& frame) { return call(channel, frame, kHandler); },
        value_begin<Request>};
  }
};

// Null: nobody serves it.
const NativeChannel::Served* NativeChannel::served(uint8_t operation) {
  using enum Kind;
  using enum Right;
  using OfRuns = NativeRuns;
  using OfKeys = NativeChannel;
  static constexpr Served kAll[] = {
      Serving::by<&OfKeys::ping>(kRead, kLook),
      Serving::by<&OfKeys::set>(kStore, kChange),
      Serving::by<&OfKeys::get>(kRead, kLook),
      Serving::by<&OfKeys::compare_set>(kStore, kChange),
      Serving::by<&OfKeys::add>(kStore, kChange),
      Serving::by<&OfKeys::check>(kRead, kLook),
      Serving::by<&OfKeys::wait>(kRead, kLook),
      Serving::by<&OfKeys::delete_key>(kWrite, kChange),
      Serving::by<&OfKeys::num_keys>(kRead, kLook),
      Serving::by<&OfKeys::list_keys>(kRead, kLook),
      Serving::by<&OfKeys::append>(kStore, kChange),
      Serving::by<&OfKeys::multi_get>(kRead, kLook),
      Serving::by<&OfKeys::multi_set>(kStore, kChange),
      Serving::by<&OfKeys::cancel>(kRead, kLook),
      Serving::by<&OfKeys::queue_push>(kStore, kChange),
      Serving::by<&OfKeys::queue_pop>(kWrite, kChange),
      Serving::by<&OfKeys::queue_len>(kRead, kLook),
      Serving::by<&OfKeys::barrier>(kStore, kChange),
      Serving::by<&OfKeys::try_get>(kRead, kLook),
      Serving::by<&OfKeys::watch>(kRead, kLook),
      Serving::by<&OfKeys::set_if_version>(kStore, kChange),
      Serving::by<&OfKeys::set_for>(kStore, kChange),
      Serving::by<&OfKeys::delete_prefix>(kWrite, kChange),
      Serving::by<&OfKeys::exchange>(kStore, kChange),
      Serving::by<&OfKeys::close_channel>(kWrite, kLook),
      Serving::by<&OfKeys::watch_prefix>(kRead, kLook),
      Serving::by<&OfKeys::spaces>(kRead, kLook),
      Serving::by<&OfRuns::join>(kRun, kChange),
      Serving::by<&OfRuns::leave>(kRun, kChange),
      Serving::by<&OfRuns::keep_alive>(kRun, kChange),
      Serving::by<&OfRuns::close_run>(kRun, kChange),
      Serving::by<&OfRuns::status>(kRun, kLook),
      Serving::by<&OfRuns::subscribe>(kRun, kLook),
      Serving::by<&OfRuns::members>(kRun, kLook),
      Serving::by<&OfRuns::resume>(kRun, kChange),
      Serving::by<&OfRuns::follow>(kRun, kLook),
      Serving::by<&OfRuns::hosts>(kRun, kLook),
      Serving::by<&OfRuns::timeline>(kRun, kLook),
  };
  static constexpr auto kByCode = [] {
    std::array<const Served*, UINT8_MAX + 1> by_code{};
    for (const Served& each : kAll) by_code[static_cast<size_t>(each.operation)] = &each;
    return by_code;
  }();
  return kByCode[operation];
}

size_t NativeChannel::value_begin(uint8_t operation, Bytes begin, size_t body_bytes) {
  const Served* found = served(operation);
  return found == nullptr ? 0 : found->value_begin(begin, body_bytes);
}

NativeRuns& NativeChannel::runs() {
  if (runs_ == nullptr) runs_ = std::make_unique<NativeRuns>(*this, context_);
  return *runs_;
}

}  // namespace rdzv
