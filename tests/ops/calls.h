#pragma once

#include <gtest/gtest.h>

#include <limits>

#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "support/expect_error.h"

namespace ostinato::ops {

/// A graph to try single calls in.
class Calls : public testing::Test {
 protected:
  ir::Value* input(ir::Shape shape, DType dtype = DType::float32) {
    return graph_.add_input("x", {dtype, std::move(shape)});
  }

  ir::Value* state(ir::Shape shape, DType dtype = DType::float32) {
    return graph_.add_state("state", {dtype, std::move(shape)});
  }

  ir::Node* call(std::string_view op, std::vector<ir::Value*> operands,
                 const std::vector<ir::NamedAttribute>& attributes = {}) {
    return build_.call(op, std::move(operands), attributes);
  }

  /// The first result's shape, as text.
  std::string shape(std::string_view op, std::vector<ir::Value*> operands,
                    const std::vector<ir::NamedAttribute>& attributes = {}) {
    return to_string(call(op, std::move(operands), attributes)->results.at(0)->shape());
  }

  void expect_rejected(std::string_view op, std::vector<ir::Value*> operands,
                       const std::vector<ir::NamedAttribute>& attributes, const std::string& part) {
    expect_error([&] { call(op, std::move(operands), attributes); }, ErrorCode::invalid_argument,
                 part);
  }

  const ir::Dim s0 = ir::Dim::symbol("s0"), s1 = ir::Dim::symbol("s1");
  static constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
  ir::Graph graph_;
  ir::Builder build_{graph_, table()};
};

}  // namespace ostinato::ops
