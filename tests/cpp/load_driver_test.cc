// The load driver's parts that can be wrong without showing: percentiles, options, answers.
#include <doctest/doctest.h>

#include <vector>

#include "base/error.h"
#include "tools/options.h"
#include "tools/protocol.h"
#include "tools/report.h"
#include "wire/c10d.h"
#include "wire/native.h"

namespace rdzv::tools {
namespace {

Options parsed(std::vector<const char*> words) {
  words.insert(words.begin(), "load_driver");
  bool wants_help = false;
  return parse_options(static_cast<int>(words.size()), words.data(), wants_help);
}

std::string refusal_of(const std::vector<const char*>& words) {
  try {
    parsed(words);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "";
}

// Fed byte by byte: the answer is not read too early, and as long as it is.
Answer read_in_pieces(Protocol& protocol, Ask ask, Bytes input) {
  for (size_t size = 1; size <= input.size(); ++size) {
    Answer answer;
    if (protocol.read(ask, input.substr(0, size), answer)) return answer;
  }
  FAIL("the answer was never read");
  return {};
}

TEST_CASE("load driver: percentiles are those of all times, to a few percent") {
  Times times;
  for (int i = 1; i <= 100'000; ++i) times.add(Duration(i * 100));
  CHECK(times.count() == 100'000);
  CHECK(times.max() == Duration(10'000'000));
  for (double part : {0.5, 0.9, 0.99}) {
    double exact = part * 10'000'000;
    CHECK(static_cast<double>(times.percentile(part).count()) >= exact);
    CHECK(static_cast<double>(times.percentile(part).count()) <= exact * 1.04);
  }
  CHECK(times.percentile(1) == times.max());
}

TEST_CASE("load driver: a time below zero counts as zero, and no time has a place") {
  Times times;
  CHECK(times.percentile(0.5) == Duration(0));
  times.add(Duration(-5));
  CHECK(times.percentile(0.5) == Duration(0));
  CHECK(times.count() == 1);
}

TEST_CASE("load driver: the report is JSON whatever an error says") {
  Report report;
  report.add("text", std::string("a \"quoted\"\nline\\"));
  report.add("number", Quantity::same(1.5));
  report.add("count", uint64_t{3});
  report.add_ratio("nothing", Quantity::sum(1), Quantity::sum(0));
  report.add("never", Times());
  CHECK(report.json() ==
        R"({"text": "a ?quoted??line?", "number": 1.5, "count": 3, "nothing": 0})");
}

// One process's report: it ran from `from` to `to` by the clock of all, and did so many.
Report part_of_run(double from, double to, uint64_t count, int time_us) {
  Report report;
  report.add("ranks", uint64_t{30});
  report.add("scenario", std::string("start"));
  report.add("seconds", Quantity::span(from, to));
  report.add_count("count", count);
  report.add_ratio("per_second", Quantity::sum(static_cast<double>(count)),
                   Quantity::span(from, to));
  Times times;
  for (uint64_t i = 0; i < count; ++i) times.add(std::chrono::microseconds(time_us));
  report.add("time_us", times);
  return report;
}

TEST_CASE("load driver: reports of several processes become one, also by way of bytes") {
  Report all;
  // The second one began first, the first one ended last.
  all.merge(Report::decode(part_of_run(11, 15, 10, 100).encode()));
  all.merge(Report::decode(part_of_run(10, 14, 20, 200).encode()));
  std::string json = all.json();
  CAPTURE(json);
  CHECK(json.starts_with(
      R"({"ranks": 30, "scenario": "start", "seconds": 5, "count": 30, "per_second": 6, )"));
  // A third took 100 us, two thirds 200 us: the percentiles are those of all.
  CHECK(json.find(R"("time_us": {"count": 30, "p50": 200)") != std::string::npos);
  CHECK(json.ends_with(R"("max": 200}})"));
  CHECK_FALSE(all.failed());

  Report failed = part_of_run(10, 11, 1, 1);
  failed.add("first_error", std::string("refused"));
  failed.set_failed();
  all.merge(Report::decode(failed.encode()));
  CHECK(all.failed());
  CHECK(all.json().find(R"("first_error": "refused")") != std::string::npos);
}

TEST_CASE("load driver: a report cut short is refused") {
  std::string bytes = part_of_run(0, 1, 3, 1).encode();
  for (size_t size = 0; size < bytes.size(); ++size)
    CHECK_THROWS_AS(Report::decode(Bytes(bytes).substr(0, size)), Error);
}

TEST_CASE("load driver: merged times are as if one had counted all") {
  Times all;
  Times even;
  Times odd;
  for (int i = 1; i <= 10'000; ++i) {
    Duration time(i * i);
    all.add(time);
    (i % 2 == 0 ? even : odd).add(time);
  }
  even.merge(odd);
  CHECK(even.count() == all.count());
  CHECK(even.max() == all.max());
  for (double part : {0.01, 0.5, 0.99, 1.0}) CHECK(even.percentile(part) == all.percentile(part));
}

TEST_CASE("load driver: options are read, and what is wrong is named") {
  Options options = parsed({"ops", "--port", "1234", "--protocol", "native", "--in-flight", "16"});
  CHECK(options.scenario == "ops");
  CHECK(options.port == 1234);
  CHECK(options.wire == Wire::kNative);
  CHECK(options.in_flight == 16);
  CHECK(options.processes == 0);
  CHECK(parsed({"idle", "--port", "1", "--processes", "3"}).processes == 3);

  CHECK(refusal_of({"--port", "1"}).find("scenario") != std::string::npos);
  CHECK(refusal_of({"ops"}).find("--port") != std::string::npos);
  CHECK(refusal_of({"ops", "--port"}).find("needs a value") != std::string::npos);
  CHECK(refusal_of({"ops", "--port", "70000"}).find("70000") != std::string::npos);
  CHECK(refusal_of({"ops", "--port", "1x"}).find("1x") != std::string::npos);
  CHECK(refusal_of({"ops", "--speed", "1"}).find("--speed") != std::string::npos);
  CHECK(refusal_of({"ops", "start", "--port", "1"}).find("start") != std::string::npos);
  CHECK(refusal_of({"ops", "--port", "1", "--protocol", "http"}).find("http") != std::string::npos);
}

TEST_CASE("load driver: c10d requests are whole, and answers end where they end") {
  auto protocol = Protocol::make(Wire::kC10d);
  std::string out;
  protocol->put_get(out, "key");
  c10d::Decoder decoder;
  c10d::Request request;
  size_t used = 0;
  REQUIRE(decoder.next(out, request, used) == c10d::Progress::kRequest);
  CHECK(request.code == c10d::Code::kGet);
  CHECK(request.strings[0] == "/key");
  CHECK(used == out.size());

  std::string answer;
  c10d::put_bytes(answer, "value");
  // Of a value only the length is needed: the rest is thrown away as it comes.
  CHECK(read_in_pieces(*protocol, Ask::kGet, answer).bytes == answer.size());
  answer.clear();
  c10d::put_i64(answer, 42);
  CHECK(read_in_pieces(*protocol, Ask::kAdd, answer).number == 42);
}

TEST_CASE("load driver: native requests get their ids, and refusals are read") {
  auto protocol = Protocol::make(Wire::kNative);
  std::string out;
  protocol->put_add(out, "counter");
  protocol->stamp(out.data(), 77);
  native::Frame frame;
  REQUIRE(native::next_frame(out, frame) == native::Progress::kTaken);
  CHECK(frame.header.id == 77);
  CHECK(frame.header.operation == static_cast<uint8_t>(native::Operation::kAdd));

  std::string answer;
  native::Header header;
  header.operation = static_cast<uint8_t>(native::Operation::kAdd) | native::kReplyBit;
  header.status = 3;
  size_t begin = native::begin_frame(answer, header);
  native::put_string(answer, "no number");
  native::end_frame(answer, begin);
  Answer read = read_in_pieces(*protocol, Ask::kAdd, answer);
  CHECK(read.error == "status 3: no number");
  CHECK(read.bytes == answer.size());
}

TEST_CASE("load driver: answers of Redis and memcached end where they end") {
  auto redis = Protocol::make(Wire::kResp);
  CHECK(read_in_pieces(*redis, Ask::kGet, "$5\r\nvalue\r\n").bytes == 11);
  CHECK(read_in_pieces(*redis, Ask::kGet, "$-1\r\n").bytes == 5);
  CHECK(read_in_pieces(*redis, Ask::kAdd, ":12\r\n").number == 12);
  CHECK(read_in_pieces(*redis, Ask::kSet, "-ERR full\r\n").error == "-ERR full");

  auto memcached = Protocol::make(Wire::kMemcached);
  CHECK(read_in_pieces(*memcached, Ask::kGet, "VALUE k 0 5\r\nvalue\r\nEND\r\n").bytes == 25);
  CHECK(read_in_pieces(*memcached, Ask::kSet, "STORED\r\n").error.empty());
  CHECK(read_in_pieces(*memcached, Ask::kAdd, "12\r\n").number == 12);
  CHECK(read_in_pieces(*memcached, Ask::kAdd, "NOT_FOUND\r\n").error == "NOT_FOUND");
}

}  // namespace
}  // namespace rdzv::tools
