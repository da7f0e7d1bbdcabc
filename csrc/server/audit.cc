#include "server/audit.h"

#include "base/text.h"
#include "server/commons.h"
#include "server/connection.h"
#include "server/context.h"

namespace rdzv {
namespace {

constexpr Duration kWindow = std::chrono::seconds(1);

std::string field(const char* name, Bytes value) {
  return std::string(" ") + name + "=" + quoted(value, 2048);
}

}  // namespace

void Audit::refused(const Connection& connection, Bytes what, const std::string& why) {
  ++commons_.records.counters.refusals;
  write(LogLevel::kWarning, "refused", connection, what, why);
}

void Audit::done_by_admin(const Connection& connection, Bytes what) {
  write(LogLevel::kInfo, "admin", connection, what, {});
}

void Audit::refused(const std::string& peer, const std::string& why) {
  ++commons_.records.counters.refusals;
  if (!may_write()) return;
  commons_.log(LogLevel::kWarning, "audit event=refused" + field("peer", peer) +
                                       field("space", {}) + field("role", "none") +
                                       field("what", "connection") + field("why", why));
}

// False: there were too many, and it is counted.
bool Audit::may_write() {
  if (commons_.clock.now >= window_ends_) begin_window();
  if (written_ >= kRecordsASecond) {
    ++left_out_;
    if (!timer_) {
      timer_ = commons_.clock.timers.call_at(window_ends_, [this] {
        timer_.reset();
        begin_window();
      });
    }
    return false;
  }
  ++written_;
  return true;
}

void Audit::write(LogLevel level, const char* event, const Connection& connection, Bytes what,
                  const std::string& why) {
  if (!may_write()) return;
  std::string text = std::string("audit event=") + event + field("peer", connection.peer());
  const tls::Identity* identity = connection.identity();
  // One that there is no room for is none.
  const bool has_room = identity == nullptr || !connection.context().space.empty();
  text += field("space", has_room ? connection.context().space : identity->space);
  text += field("role", identity == nullptr ? "none" : tls::role_text(identity->role));
  if (identity != nullptr && identity->by_token) text += field("key", identity->key_id);
  if (identity != nullptr && !identity->certificate.empty())
    text += field("certificate", identity->certificate);
  text += field("what", what);
  if (!why.empty()) text += field("why", why);
  commons_.log(level, text);
}

void Audit::begin_window() {
  if (left_out_ > 0) {
    commons_.log(LogLevel::kWarning, "audit event=left_out records=" + std::to_string(left_out_) +
                                         " why=\"more than " + std::to_string(kRecordsASecond) +
                                         " in a second\"");
  }
  window_ends_ = commons_.clock.now + kWindow;
  written_ = left_out_ = 0;
}

}  // namespace rdzv
