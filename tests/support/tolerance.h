#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "ostinato/tensor.h"

namespace ostinato {

/// How far a kernel's result may lie from the oracle's: |got - want| <= atol + rtol * |want|.
struct Tolerance {
  double atol = 0;
  double rtol = 0;
};

/// The row of tests/tolerances.json, which these tests share with those in Python. Dtypes that are
/// not in it (integers and bools) must be exact.
/// @param kind `elementwise`, `reduction` (sums, norms, softmax) or `matmul` (and attention)
inline Tolerance tolerance_of(const std::string& kind, DType dtype) {
  static const nlohmann::json table =
      nlohmann::json::parse(std::ifstream(OSTINATO_TESTS_FOLDER "/tolerances.json"));
  const nlohmann::json& rows = table.at(kind);
  const auto row = rows.find(std::string(name_of(dtype)));
  if (row == rows.end()) return {};
  return {row->at("atol").get<double>(), row->at("rtol").get<double>()};
}

}  // namespace ostinato
