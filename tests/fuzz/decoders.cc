// Whatever decodes encodes to the same bytes again, and what is decoded lies within what was given.
#include <string>
#include <vector>

#include "base/error.h"
#include "group/codec.h"
#include "input.h"
#include "store/file_format.h"
#include "targets.h"
#include "tls/token.h"
#include "wire/c10d.h"
#include "wire/c10d_reply.h"
#include "wire/messages.h"
#include "wire/native.h"

namespace rdzv::fuzz {
namespace {

// Hands a decoder of the c10d protocol its input a piece at a time, as a connection does: `next` is
// given all that is not used up, and says how much it used, or none when it needs more. False ends
// it.
template <typename Next>
void in_pieces(Input& input, Next&& next) {
  std::string waiting;
  while (!input.is_empty()) {
    waiting += input.take(1 + input.byte() % 64);
    const Exact exact(waiting);
    size_t consumed = 0;
    for (;;) {
      size_t used = 0;
      const c10d::Progress progress = next(exact.view().substr(consumed), used);
      if (progress == c10d::Progress::kInvalid) return;
      if (progress == c10d::Progress::kNeedMore) break;
      consumed += used;
      check(used > 0 && consumed <= waiting.size(), "a request has some of the bytes");
    }
    waiting.erase(0, consumed);
  }
}

template <typename Message>
void take_as(Bytes body) {
  Message message;
  std::vector<Bytes> strings;
  if (!native::take(body, message, &strings)) return;
  std::string again;
  native::put(again, message);
  check(Bytes(again) == body, "a message that decodes encodes to the same bytes");
}

void take_body(Bytes body) {
  const Exact exact(body);
  native::for_each_request([&]<typename Request>(Request*) {
    take_as<Request>(exact.view());
    take_as<typename Request::Is::Reply>(exact.view());
  });
  take_as<native::ErrorReply>(exact.view());
  for (const size_t strings_an_item : {size_t{1}, size_t{2}}) {
    ByteReader reader(exact.view());
    std::vector<Bytes> strings;
    if (!native::take_strings(reader, strings_an_item, strings)) continue;
    check(strings.capacity() <= body.size(), "a list has no more strings than bytes");
    for (const Bytes string : strings) look_at(string);
  }
}

}  // namespace

void c10d(Bytes bytes) {
  Input input(bytes);
  rdzv::c10d::Decoder decoder;
  rdzv::c10d::Request request;
  in_pieces(input, [&](Bytes given, size_t& used) {
    const rdzv::c10d::Progress progress = decoder.next(given, request, used);
    if (progress == rdzv::c10d::Progress::kInvalid)
      check(!decoder.error().empty(), "what is invalid has a reason");
    if (progress == rdzv::c10d::Progress::kRequest) {
      for (const Bytes string : request.strings) look_at(string);
    }
    return progress;
  });
}

void replies(Bytes bytes) {
  Input input(bytes);
  const auto code = static_cast<rdzv::c10d::Code>(input.byte() % 0x13);
  const size_t keys = input.byte();
  rdzv::c10d::ReplyDecoder decoder(code, keys);
  rdzv::c10d::Reply reply;
  in_pieces(input, [&](Bytes given, size_t& used) {
    const rdzv::c10d::Progress progress = decoder.next(given, reply, used);
    if (progress == rdzv::c10d::Progress::kRequest) {
      check(used <= given.size(), "an answer lies within what came");
      for (const Bytes string : reply.strings) look_at(string);
      // One decoder, one answer.
      return rdzv::c10d::Progress::kInvalid;
    }
    return progress;
  });
}

void native(Bytes input) {
  const Exact exact(input);
  native::Preamble preamble;
  native::take_preamble(exact.view(), preamble);
  size_t at = std::min(input.size(), native::kPreambleBytes);
  native::Frame frame;
  while (native::next_frame(exact.view().substr(at), frame) == native::Progress::kTaken) {
    check(frame.body.size() == frame.header.body_bytes, "a body is as long as its header says");
    take_body(frame.body);
    at += native::kHeaderBytes + frame.body.size();
    check(at <= input.size(), "a frame lies within what came");
  }
  take_body(input.substr(0, 4096));
}

void state(Bytes input) {
  const Exact exact(input);
  GroupState state;
  if (const auto error = decode_state(exact.view(), state)) {
    check(!std::string(error->what()).empty(), "a state that is refused has a reason");
    return;
  }
  check(Bytes(encode_state(state)) == input, "a state that decodes encodes to the same bytes");
}

void file(Bytes input) {
  const Exact exact(input);
  file_format::Header header;
  Bytes rest = exact.view();
  if (file_format::decode_header(exact.view(), header) == file_format::HeaderStatus::kOk) {
    check(header.bytes <= input.size(), "a header lies within its file");
    rest.remove_prefix(header.bytes);
  }
  file_format::Record record;
  file_format::decode_body(rest, record);
  while (rest.size() >= file_format::kRecordHeadBytes) {
    file_format::RecordHead head;
    // A checksum that fits is seldom found: what follows is looked at all the same.
    file_format::decode_head(rest, head);
    rest.remove_prefix(file_format::kRecordHeadBytes);
    const Bytes body = rest.substr(0, head.body_bytes);
    if (file_format::decode_body(body, record) == file_format::BodyStatus::kOk) {
      look_at(record.key);
      look_at(record.value);
      for (const Bytes each : record.pairs) look_at(each);
      for (const auto& each : record.entries) look_at(each.value);
    }
    rest.remove_prefix(body.size());
  }
}

namespace {

// Whatever may be a secret: no word of our messages is so long, unless bytes are shown as "\x00".
void check_silence(Bytes input, const Error& error) {
  check(error.code() == ErrorCode::kInvalidArgument, "a bad token is a bad argument");
  constexpr Bytes kBetween = " \t\r\n:";
  while (!input.empty()) {
    const Bytes word = input.substr(0, input.find_first_of(kBetween));
    input.remove_prefix(std::min(input.size(), word.size() + 1));
    check(word.size() < tls::kSecretBytesMin || word.find('\\') != Bytes::npos ||
              error.message().find(word) == std::string::npos,
          "no message shows a secret");
  }
}

}  // namespace

void token(Bytes input) {
  const Exact exact(input);
  const auto is_good = [](const tls::Token& token) {
    check(token.secret.size() >= tls::kSecretBytesMin, "a secret is long enough");
    check(token.secret.size() <= tls::kSecretBytesMax, "a secret is not too long");
    check(!token.space.empty() && token.space.size() <= tls::kSpaceBytesMax, "a space has a name");
  };
  try {
    is_good(tls::parse_token(exact.view()));
  } catch (const Error& error) {
    check_silence(input, error);
  }
  try {
    const std::vector<tls::Token> all = tls::parse_tokens(exact.view());
    check(!all.empty() && all.size() <= tls::kTokensMax, "a file has a token, and not too many");
    for (const tls::Token& each : all) is_good(each);
  } catch (const Error& error) {
    check_silence(input, error);
  }
}

}  // namespace rdzv::fuzz
