// Writes a few good inputs for each target into FOLDER/TARGET/: where a fuzzer begins that knows
// nothing yet.
//
//     fuzz_seeds FOLDER
#include <filesystem>
#include <fstream>
#include <string>

#include "../cpp/fuzz_streams.h"
#include "group/codec.h"
#include "store/file_format.h"
#include "targets.h"
#include "tls/token.h"

extern "C" int LLVMFuzzerInitialize(int*, char***);  // setup.cc

namespace {

using namespace rdzv;

class Seeds {
 public:
  explicit Seeds(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void add(const std::string& target, const std::string& input) {
    std::filesystem::create_directories(folder_ / target);
    std::ofstream(folder_ / target / ("seed" + std::to_string(++count_)), std::ios::binary)
        << input;
  }

 private:
  std::filesystem::path folder_;
  int count_ = 0;
};

// For targets that take their input in pieces, each behind a byte or two that say how long it is.
std::string in_pieces(const std::string& stream, const std::string& before, size_t piece) {
  std::string out;
  for (size_t at = 0; at < stream.size(); at += piece) {
    const std::string part = stream.substr(at, piece);
    out += before + static_cast<char>(part.size() - 1) + part;
  }
  return out;
}

void add_requests(Seeds& seeds) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    test::FuzzStreams streams(seed);
    const std::string c10d = streams.c10d(), native = streams.native();
    seeds.add("c10d", in_pieces(c10d, "", 60));
    seeds.add("native", native);
    // Of connection 0 and 1, a piece each turn.
    seeds.add("server", in_pieces(native, "\x0c", 250) + in_pieces(c10d, "\x0d", 250));
  }
}

void add_files(Seeds& seeds) {
  using file_format::RecordType, file_format::RecordWriter;
  file_format::Header header;
  header.job_id = "job";
  std::string bytes = file_format::encode_header(header);
  RecordWriter(bytes, RecordType::kSet).string("key").string("value").end();
  RecordWriter(bytes, RecordType::kSetFor).u64(1000).string("key").string("value").end();
  RecordWriter(bytes, RecordType::kMultiSet).u32(1).string("key").string("value").end();
  RecordWriter(bytes, RecordType::kPop).string("key").end();
  seeds.add("file", bytes);
  seeds.add("state", encode_state(GroupState{}));
}

}  // namespace

int main(int, char** words) {
  LLVMFuzzerInitialize(nullptr, nullptr);
  Seeds seeds(words[1]);
  add_requests(seeds);
  add_files(seeds);
  seeds.add("replies", std::string("\x03\0\x0d\x05\0\0\0\0\0\0\0value", 16));
  seeds.add("token", "0123456789abcdef");
  seeds.add("token",
            "rendezvous:team:reader:0123456789abcdef\n# a note\nteam member 0123456789abcdef\n");
  for (const char* target : {"tls_server", "tls_client", "tls_damaged"}) {
    for (char kind = 0; kind < 3; ++kind)
      seeds.add(target, std::string(1, kind) + "\xff\x07\x16\x03\x01");
  }
  return 0;
}
