#include "wire/native_run.h"

#include "wire/limits.h"
#include "wire/native.h"

namespace rdzv::native {
namespace {

// Takes the fields of one body. A field that cannot be as it is fails the whole, once and for all.
class Fields {
 public:
  explicit Fields(Bytes body) : reader_(body) {}

  uint8_t u8(uint8_t value_max) {
    const uint8_t value = reader_.u8();
    ok_ = ok_ && value <= value_max;
    return value;
  }
  bool flag() { return u8(1) == 1; }
  uint32_t u32() { return reader_.u32(); }
  uint64_t u64() { return reader_.u64(); }
  Bytes string(size_t size_max) { return take_string(reader_, size_max); }
  Bytes run_id() { return take_string(reader_, limits::kRunIdBytesMax); }

  RunNode node() {
    RunNode node;
    node.addr = take_string(reader_, limits::kTextBytesMax);
    node.pid = reader_.u64();
    node.local_id = reader_.u64();
    return node;
  }

  RunSettings settings() {
    RunSettings settings;
    settings.min_nodes = reader_.u32();
    settings.max_nodes = reader_.u32();
    settings.last_call_ms = reader_.u64();
    settings.keep_alive_interval_ms = reader_.u64();
    settings.keep_alive_max_attempt = reader_.u32();
    return settings;
  }

  bool ok() const { return ok_ && reader_.ok(); }
  size_t left() const { return reader_.left(); }
  bool whole() const { return ok() && reader_.left() == 0; }

 private:
  ByteReader reader_;
  bool ok_ = true;
};

void put_flag(std::string& out, bool flag) {
  put_u8(out, flag ? 1 : 0);
}

void put_node(std::string& out, const RunNode& node) {
  put_string(out, node.addr);
  put_u64(out, node.pid);
  put_u64(out, node.local_id);
}

void put_settings(std::string& out, const RunSettings& settings) {
  put_u32(out, settings.min_nodes);
  put_u32(out, settings.max_nodes);
  put_u64(out, settings.last_call_ms);
  put_u64(out, settings.keep_alive_interval_ms);
  put_u32(out, settings.keep_alive_max_attempt);
}

}  // namespace

void put_join(std::string& out, const JoinRequest& request) {
  put_u32(out, request.timeout_ms);
  put_string(out, request.run_id);
  put_node(out, request.node);
  put_settings(out, request.settings);
  put_u64(out, request.after_round);
  put_u32(out, request.grace_ms);
  put_u32(out, request.handle);
}

bool take_join(Bytes body, JoinRequest& request) {
  Fields fields(body);
  request.timeout_ms = fields.u32();
  request.run_id = fields.run_id();
  request.node = fields.node();
  request.settings = fields.settings();
  request.after_round = fields.u64();
  request.grace_ms = fields.u32();
  request.handle = fields.u32();
  return fields.whole();
}

void put_join_reply(std::string& out, const JoinReply& reply) {
  put_u8(out, static_cast<uint8_t>(reply.outcome));
  put_u64(out, reply.round);
  put_u32(out, reply.rank);
  put_u32(out, reply.world_size);
  put_node(out, reply.first);
  put_u32(out, reply.waiting);
  put_u32(out, reply.spares);
  put_u32(out, reply.changes);
}

bool take_join_reply(Bytes body, JoinReply& reply) {
  Fields fields(body);
  reply.outcome = static_cast<JoinOutcome>(fields.u8(kJoinOutcomeMax));
  reply.round = fields.u64();
  reply.rank = fields.u32();
  reply.world_size = fields.u32();
  reply.first = fields.node();
  reply.waiting = fields.u32();
  reply.spares = fields.u32();
  reply.changes = fields.u32();
  return fields.whole();
}

void put_leave(std::string& out, const LeaveRequest& request) {
  put_string(out, request.run_id);
  put_node(out, request.node);
  put_flag(out, request.failed);
}

bool take_leave(Bytes body, LeaveRequest& request) {
  Fields fields(body);
  request.run_id = fields.run_id();
  request.node = fields.node();
  request.failed = fields.flag();
  return fields.whole();
}

void put_leave_reply(std::string& out, const LeaveReply& reply) {
  put_flag(out, reply.was_listed);
}

bool take_leave_reply(Bytes body, LeaveReply& reply) {
  Fields fields(body);
  reply.was_listed = fields.flag();
  return fields.whole();
}

void put_keep_alive(std::string& out, const KeepAliveRequest& request) {
  put_u32(out, request.handle);
}

bool take_keep_alive(Bytes body, KeepAliveRequest& request) {
  Fields fields(body);
  request.handle = fields.u32();
  return fields.whole();
}

void put_keep_alive_reply(std::string& out, const KeepAliveReply& reply) {
  put_flag(out, reply.known);
  put_u32(out, reply.changes);
  put_flag(out, reply.closed);
}

bool take_keep_alive_reply(Bytes body, KeepAliveReply& reply) {
  Fields fields(body);
  reply.known = fields.flag();
  reply.changes = fields.u32();
  reply.closed = fields.flag();
  return fields.whole();
}

void put_close_run(std::string& out, const CloseRunRequest& request) {
  put_string(out, request.run_id);
}

bool take_close_run(Bytes body, CloseRunRequest& request) {
  Fields fields(body);
  request.run_id = fields.run_id();
  return fields.whole();
}

void put_status(std::string& out, const StatusRequest& request) {
  put_string(out, request.run_id);
  put_node(out, request.node);
}

bool take_status(Bytes body, StatusRequest& request) {
  Fields fields(body);
  request.run_id = fields.run_id();
  request.node = fields.node();
  return fields.whole();
}

void put_status_reply(std::string& out, const StatusReply& reply) {
  put_flag(out, reply.known);
  put_u64(out, reply.round);
  put_flag(out, reply.complete);
  put_flag(out, reply.closed);
  put_u64(out, reply.finished_round);
  put_u32(out, reply.world_size);
  put_flag(out, reply.has_settings);
  put_settings(out, reply.settings);
  for (const uint32_t count : {reply.participants, reply.waiting, reply.spares, reply.lost})
    put_u32(out, count);
  put_u32(out, reply.last_call_left_ms);
  put_u8(out, static_cast<uint8_t>(reply.role));
  put_u32(out, reply.rank);
  put_u32(out, reply.changes);
}

bool take_status_reply(Bytes body, StatusReply& reply) {
  Fields fields(body);
  reply.known = fields.flag();
  reply.round = fields.u64();
  reply.complete = fields.flag();
  reply.closed = fields.flag();
  reply.finished_round = fields.u64();
  reply.world_size = fields.u32();
  reply.has_settings = fields.flag();
  reply.settings = fields.settings();
  for (uint32_t* count : {&reply.participants, &reply.waiting, &reply.spares, &reply.lost})
    *count = fields.u32();
  reply.last_call_left_ms = fields.u32();
  reply.role = static_cast<RunRole>(fields.u8(kRunRoleMax));
  reply.rank = fields.u32();
  reply.changes = fields.u32();
  return fields.whole();
}

void put_subscribe(std::string& out, const SubscribeRequest& request) {
  put_u32(out, request.timeout_ms);
  put_string(out, request.run_id);
  put_node(out, request.node);
  put_u64(out, request.round);
  put_u32(out, request.known_changes);
  put_flag(out, request.known_closed);
}

bool take_subscribe(Bytes body, SubscribeRequest& request) {
  Fields fields(body);
  request.timeout_ms = fields.u32();
  request.run_id = fields.run_id();
  request.node = fields.node();
  request.round = fields.u64();
  request.known_changes = fields.u32();
  request.known_closed = fields.flag();
  return fields.whole();
}

void put_subscribe_reply(std::string& out, const SubscribeReply& reply) {
  put_flag(out, reply.active);
  put_u32(out, reply.changes);
  put_flag(out, reply.closed);
}

bool take_subscribe_reply(Bytes body, SubscribeReply& reply) {
  Fields fields(body);
  reply.active = fields.flag();
  reply.changes = fields.u32();
  reply.closed = fields.flag();
  return fields.whole();
}

void put_members(std::string& out, const MembersRequest& request) {
  put_string(out, request.run_id);
  put_u8(out, static_cast<uint8_t>(request.which));
  put_string(out, request.cursor);
  put_u32(out, request.limit);
}

bool take_members(Bytes body, MembersRequest& request) {
  Fields fields(body);
  request.run_id = fields.run_id();
  request.which = static_cast<MemberList>(fields.u8(kMemberListMax));
  request.cursor = fields.string(limits::kMembersCursorBytesMax);
  request.limit = fields.u32();
  return fields.whole();
}

void put_members_reply(std::string& out, const MembersReply& reply) {
  put_u32(out, reply.total);
  put_string(out, reply.cursor);
  put_u32(out, static_cast<uint32_t>(reply.items.size()));
  for (const MembersReply::Item& item : reply.items) {
    put_node(out, item.node);
    put_u32(out, item.rank);
  }
}

bool take_members_reply(Bytes body, MembersReply& reply) {
  Fields fields(body);
  reply.total = fields.u32();
  reply.cursor = fields.string(limits::kMembersCursorBytesMax);
  const uint32_t count = fields.u32();
  constexpr size_t kItemBytesMin = 4 + 8 + 8 + 4;
  reply.items.clear();
  // A count that the body cannot hold allocates nothing.
  if (!fields.ok() || count > fields.left() / kItemBytesMin) return false;
  reply.items.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    MembersReply::Item& item = reply.items.emplace_back();
    item.node = fields.node();
    item.rank = fields.u32();
  }
  return fields.whole();
}

void put_resume(std::string& out, const ResumeRequest& request) {
  put_string(out, request.run_id);
  put_node(out, request.node);
  put_settings(out, request.settings);
  put_u64(out, request.round);
  put_u32(out, request.rank);
  put_u32(out, request.world_size);
  put_u32(out, request.grace_ms);
  put_u32(out, request.handle);
}

bool take_resume(Bytes body, ResumeRequest& request) {
  Fields fields(body);
  request.run_id = fields.run_id();
  request.node = fields.node();
  request.settings = fields.settings();
  request.round = fields.u64();
  request.rank = fields.u32();
  request.world_size = fields.u32();
  request.grace_ms = fields.u32();
  request.handle = fields.u32();
  return fields.whole();
}

void put_resume_reply(std::string& out, const ResumeReply& reply) {
  put_flag(out, reply.taken);
  put_u32(out, reply.changes);
  put_flag(out, reply.closed);
}

bool take_resume_reply(Bytes body, ResumeReply& reply) {
  Fields fields(body);
  reply.taken = fields.flag();
  reply.changes = fields.u32();
  reply.closed = fields.flag();
  return fields.whole();
}

}  // namespace rdzv::native
