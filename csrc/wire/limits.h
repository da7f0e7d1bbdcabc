// Every limit of what a peer may send or hold, in one place. Beyond them a native peer gets an
// error answer; a c10d peer, whose protocol has none, is disconnected with a log line. All are at
// least what torch's TCPStore server accepts (key 8,192 B, value 8 MiB, 131,072 keys a request).
#pragma once

#include <cstddef>
#include <cstdint>

namespace rdzv::limits {

inline constexpr size_t kKeyBytesMax = 16 * 1024;
// On the wire users' keys carry a leading '/'.
inline constexpr size_t kWireKeyBytesMax = kKeyBytesMax + 1;
inline constexpr size_t kValueBytesMax = 64 * 1024 * 1024;
inline constexpr size_t kKeysPerRequestMax = 131'072;
// One request, and so what is buffered of a connection's input before it is applied.
inline constexpr size_t kRequestBytesMax = 256 * 1024 * 1024;
// What a client takes for one c10d answer. The largest is a list of all keys.
inline constexpr size_t kReplyBytesMax = 1024 * 1024 * 1024;
// Replies that a peer does not read: above this its requests are left unread until it has caught
// up.
inline constexpr size_t kUnsentBytesMax = 4 * 1024 * 1024;
// What the server keeps of lists of keys that many ask for and of the answers that it made of them
// (one answer may be larger until it is sent).
inline constexpr size_t kComposedBytesMax = 16 * 1024 * 1024;
// Blocked requests of one connection.
inline constexpr size_t kWaitsPerConnectionMax = 65'536;
// Free text in a HELLO (credentials, client name) and in error answers.
inline constexpr size_t kTextBytesMax = 4 * 1024;
// Rendezvous kept by the server: all runs, and those that nobody is in but that are remembered, so
// that a closed run stays closed and its rounds go on counting.
inline constexpr size_t kRunIdBytesMax = 1024;
inline constexpr size_t kRunsMax = 8192;
inline constexpr size_t kIdleRunsMax = 1024;
// Nodes that one connection speaks for.
inline constexpr size_t kNodesPerConnectionMax = 65'536;
inline constexpr size_t kMembersPerReplyMax = 1000;
// Where a page of them ended: a node.
inline constexpr size_t kMembersCursorBytesMax = 512;

}  // namespace rdzv::limits
