// Every limit of what a peer may send or hold, in one place. Beyond them a native peer gets an
// error answer; a c10d peer, whose protocol has none, is disconnected with a log line. All are at
// least what torch's TCPStore server accepts (key 8,192 B, value 8 MiB, 131,072 keys a request).
// The first part follows from the format and is the same everywhere. The second are defaults of
// what each server can be told (server/limits.h); docs/limits.md has all of them.
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
// Free text in a HELLO (name space, client name) and in error answers.
inline constexpr size_t kTextBytesMax = 4 * 1024;
inline constexpr size_t kRunIdBytesMax = 1024;
// Of what a node's work wrote last before the node gave up.
inline constexpr size_t kLastLineBytesMax = 512;
// What one answer to WATCH_PREFIX is at least, if there is more (the last value may be large).
inline constexpr size_t kWatchAnswerBytes = 256 * 1024;
inline constexpr size_t kMembersPerReplyMax = 1000;
// Addresses, of one HOSTS.
inline constexpr size_t kHostsPerRequestMax = 1000;
// Name spaces, and limits of a server, of one SPACES.
inline constexpr size_t kSpacesPerReplyMax = 100'000;
inline constexpr size_t kServerLimitsMax = 1000;
// Where a page of them ended: a node.
inline constexpr size_t kMembersCursorBytesMax = 512;
// Nodes that went, of one run that somebody follows.
inline constexpr size_t kDeparturesKept = 256;
inline constexpr size_t kEventsPerReplyMax = 256;

// From here on: defaults. What a machine has descriptors for is less, as a rule.
inline constexpr size_t kConnectionsMax = 1'000'000;
// Before a peer has said who it is: what is buffered of its input, and how long it may take.
inline constexpr size_t kGreetingBytesMax = 16 * 1024;
inline constexpr uint64_t kGreetingMsMax = 10'000;
// Channels of one connection of the native protocol; and of each, the requests that wait for its
// turn (one may be larger).
inline constexpr size_t kChannelsPerConnectionMax = 256;
inline constexpr size_t kChannelInputBytesMax = 256 * 1024;
// Requests of all connections that are not whole yet.
inline constexpr size_t kInputBytesMax = size_t{1} << 30;
// Blocked requests: of one connection, of all, and their number on one connection.
inline constexpr size_t kParkedBytesPerConnectionMax = 64 * 1024 * 1024;
inline constexpr size_t kParkedBytesMax = size_t{2} << 30;
inline constexpr size_t kWaitsPerConnectionMax = 65'536;
// Replies that a peer does not read: above this its requests are left unread until it has caught
// up.
inline constexpr size_t kUnsentBytesMax = 4 * 1024 * 1024;
// What the server keeps of lists of keys that many ask for and of the answers that it made of them
// (one answer may be larger until it is sent).
inline constexpr size_t kComposedBytesMax = 16 * 1024 * 1024;
// Replies that come nevertheless, because something that it waited for has happened: above this the
// connection is closed. Those of all connections.
inline constexpr size_t kUnsentBytesPerConnectionMax = 64 * 1024 * 1024;
inline constexpr size_t kUnsentBytesOfAllMax = size_t{2} << 30;
// Keys, values and queues.
inline constexpr size_t kStoredBytesMax = size_t{16} << 30;
// All that clients make the server keep: keys, requests, answers, runs, TLS.
inline constexpr size_t kMemoryBytesMax = size_t{32} << 30;
// What is remembered of the changes under prefixes that are watched, of all name spaces.
inline constexpr size_t kWatchBytesMax = size_t{1} << 30;
// As many as the bytes of all are good for.
inline constexpr size_t kKeysMax = 100'000'000;
inline constexpr size_t kWaitsMax = 4'000'000;
// Name spaces at a time.
inline constexpr size_t kSpacesMax = 4096;
inline constexpr uint64_t kTtlMsMax = uint64_t{30} * 365 * 24 * 3600 * 1000;
// Rendezvous kept by the server: all runs, those that one connection has to do with, and those that
// nobody is in but that are remembered, so that a closed run stays closed and its rounds go on
// counting. A job that is started again after that time begins with round 1.
inline constexpr size_t kRunsMax = 8192;
inline constexpr size_t kRunsPerConnectionMax = 1024;
inline constexpr size_t kIdleRunsMax = 1024;
inline constexpr uint64_t kIdleRunMsMax = uint64_t{24} * 3600 * 1000;
// Runs and their nodes together; nodes that one connection speaks for.
inline constexpr size_t kRunBytesMax = size_t{1} << 30;
inline constexpr size_t kNodesPerConnectionMax = 65'536;
// Times for which a run is kept after its clients have gone, or silent.
inline constexpr uint64_t kGraceMsMax = uint64_t{7} * 24 * 3600 * 1000;
inline constexpr uint64_t kKeepAliveWindowMsMax = uint64_t{7} * 24 * 3600 * 1000;
inline constexpr uint64_t kLastCallMsMax = uint64_t{7} * 24 * 3600 * 1000;
// What has happened to runs, for those who ask afterwards.
inline constexpr size_t kTimelineBytesMax = size_t{16} << 20;

}  // namespace rdzv::limits
