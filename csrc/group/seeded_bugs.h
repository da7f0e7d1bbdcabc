// Bugs that a test seeds into the rulebook, one at a time, to see that its checks find each of them
// (tests/cpp/rulebook_test.cc). Without RDZV_SEEDED_BUGS there are none: nothing of it is compiled.
#pragma once

namespace rdzv {

enum class Bug {
  kNone,
  kNoPlaceIsKept,
  kKeptForEver,
  kNewcomersFirst,
  kLastSpareFirst,
  kPlaceTooMany,
  kRoundTooLarge,
  kRoundTooSmall,
  kRanksNotSticky,
  kRankTwice,
  kOldRanksAreKept,
  kGivenRankTwice,
  kTopologyApart,
  kSegmentSplit,
  kClosedTakesNodes,
  kLossIsSilent,
  kDebounceIsOff,
  kOldAttemptIsTaken,
  kDeadTakePart,
  kSameRoundAgain,
  kCloseEndsVerdict,
  kVerdictIsSilent,
  kLast = kVerdictIsSilent,
};

#ifdef RDZV_SEEDED_BUGS
inline Bug seeded_bug = Bug::kNone;
inline bool has(Bug bug) {
  return seeded_bug == bug;
}
#else
constexpr bool has(Bug) {
  return false;
}
#endif

}  // namespace rdzv
