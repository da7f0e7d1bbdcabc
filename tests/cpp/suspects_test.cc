// Addresses whose clients were refused, and how many requests those of one may make.
#include "server/suspects.h"

#include <doctest/doctest.h>

#include <string>

#include "server/rates.h"

using namespace rdzv;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("who was refused again and again is looked at later and later, and not for ever") {
  Suspects suspects({1, 2});
  Instant time{seconds(1000)};
  for (uint64_t i = 0; i < Suspects::kFree; ++i) suspects.note("10.0.0.1", time);
  CHECK(suspects.when("10.0.0.1", time) == time);
  Duration last{};
  for (int i = 0; i < 10; ++i) {
    suspects.note("10.0.0.1", time);
    const Duration wait = suspects.when("10.0.0.1", time) - time;
    CHECK((wait > last || wait == Suspects::kWaitMax));
    last = wait;
  }
  CHECK(last == Suspects::kWaitMax);
  CHECK(suspects.when("10.0.0.2", time) == time);
  CHECK(suspects.when("10.0.0.1", time + seconds(2)) == time + seconds(2));
  time += Suspects::kRemembered;
  suspects.note("10.0.0.1", time);
  CHECK(suspects.when("10.0.0.1", time) == time);
}

TEST_CASE("of very many addresses the last ones are remembered") {
  Suspects suspects({1, 2});
  const Instant time{seconds(1000)};
  for (size_t i = 0; i < 10 * Suspects::kAddressesMax; ++i) {
    for (uint64_t times = 0; times <= Suspects::kFree; ++times)
      suspects.note(std::to_string(i), time);
  }
  CHECK(suspects.size() == Suspects::kAddressesMax);
  CHECK(suspects.when("0", time) == time);
  CHECK(suspects.when(std::to_string(10 * Suspects::kAddressesMax - 1), time) > time);
}

TEST_CASE("requests of one address have a rate, whatever connections they come on") {
  Rates rates(100, {1, 2});
  REQUIRE(rates.are_limited());
  Instant time{seconds(1000)};
  Rates::Rate& rate = rates.come("10.0.0.1");
  CHECK(rate.allowed(time, rates.each()) == 100);
  rate.take(100, time, rates.each());
  CHECK(rate.allowed(time, rates.each()) == 0);
  CHECK(rate.next(rates.each()) == time + milliseconds(10));
  rates.go(rate, "10.0.0.1");
  Rates::Rate& again = rates.come("10.0.0.1");
  CHECK(again.allowed(time, rates.each()) == 0);
  CHECK(rates.come("10.0.0.2").allowed(time, rates.each()) == 100);
  CHECK(again.allowed(time + milliseconds(10), rates.each()) == 1);
  CHECK(again.allowed(time + milliseconds(500), rates.each()) == 50);
  CHECK(again.allowed(time + seconds(100), rates.each()) == 100);
  CHECK_FALSE(Rates(0, {1, 2}).are_limited());
}
