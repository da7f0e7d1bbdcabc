// A corpus as one file: each input behind its size, a little-endian u32. tasks/fuzz.py makes
// it of libFuzzer's folder.
#pragma once

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace rdzv::fuzz {

inline std::vector<std::string> unpack(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> inputs;
  ByteReader reader(all);
  while (reader.left() > 0) {
    inputs.emplace_back(reader.take(reader.u32()));
    if (!reader.ok()) throw std::runtime_error(path + " is cut");
  }
  return inputs;
}

}  // namespace rdzv::fuzz
