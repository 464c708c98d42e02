#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "ostinato/device/cpu/kernel.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"

namespace ostinato::cpu {
namespace {

using ir::NamedAttribute;
using ir::Shape;
using ir::Value;

Tensor iota(std::vector<int64_t> shape, float first = 0) {
  Tensor tensor = Tensor::empty(DType::float32, std::move(shape));
  std::iota(tensor.as<float>(), tensor.as<float>() + tensor.numel(), first);
  return tensor;
}

Tensor indices(std::vector<int64_t> values) {
  Tensor tensor = Tensor::empty(DType::int64, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.as<int64_t>());
  return tensor;
}

Tensor scalar(int64_t value) {
  Tensor tensor = Tensor::empty(DType::int64, {});
  *tensor.as<int64_t>() = value;
  return tensor;
}

std::vector<float> floats_of(const Tensor& tensor) {
  return {tensor.as<float>(), tensor.as<float>() + tensor.numel()};
}

device::TensorDesc desc_of(const Value* value) {
  return {value->dtype(), ir::Layout::contiguous(ir::to_integers(value->shape()))};
}

/// Whether the reference kernel of a call finds fault with its operands. The result is new memory,
/// or the first operand's where the operator mutates that.
bool faults(std::string_view op, std::vector<Tensor> operands,
            const std::vector<NamedAttribute>& attributes = {}) {
  ir::Graph graph;
  ir::Builder build(graph, ops::table());
  std::vector<Value*> values;
  device::Request request;
  request.tier = device::Tier::reference;
  std::vector<void*> inputs, outputs;
  for (Tensor& operand : operands) {
    const Shape shape(operand.shape().begin(), operand.shape().end());
    values.push_back(graph.add_input("x", {operand.dtype(), shape}));
    request.inputs.emplace_back(desc_of(values.back()));
    request.constants.push_back(nullptr);
    inputs.push_back(operand.data());
  }
  const ir::Node* node = build.call(op, values, attributes);
  request.node = node;
  std::vector<Tensor> results;
  for (const Value* result : node->results) {
    request.outputs.push_back(desc_of(result));
    results.push_back(Tensor::empty(result->dtype(), request.outputs.back().sizes()));
    const bool in_place = node->overwritten(outputs.size()) != nullptr;
    outputs.push_back(in_place ? inputs[0] : results.back().data());
  }
  Fault fault{nullptr};
  const auto kernel = kernels().find(op, device::Tier::reference)(request);
  kernel->run({inputs.data(), outputs.data(), nullptr, &fault}, {});
  EXPECT_TRUE(fault.load() == nullptr || fault.load() == node);
  return fault.load() != nullptr;
}

TEST(Faults, AreIndicesOutOfRange) {
  const Tensor x = iota({3, 2}), row = iota({3});
  EXPECT_FALSE(faults("aten.index.Tensor", {x, indices({0, 2, -3})}));
  EXPECT_TRUE(faults("aten.index.Tensor", {x, indices({0, 3})}));
  EXPECT_TRUE(faults("aten.index.Tensor", {x, indices({-4})}));
  EXPECT_TRUE(faults("aten.index_put", {x, indices({3}), iota({1, 2})}));
  EXPECT_FALSE(faults("aten.embedding", {x, indices({0, 2})}));
  EXPECT_TRUE(faults("aten.embedding", {x, indices({3})}));
  EXPECT_TRUE(faults("aten.embedding", {x, indices({-1})}));
  EXPECT_TRUE(faults("aten.index_select", {x, indices({2})}, {{"dim", 1}}));
  EXPECT_TRUE(faults("aten.index_select", {x, indices({-1})}, {{"dim", 0}}));
  EXPECT_FALSE(faults("aten.gather", {row, indices({2, 0})}, {{"dim", 0}}));
  EXPECT_TRUE(faults("aten.gather", {row, indices({3, 0})}, {{"dim", 0}}));
  EXPECT_TRUE(faults("aten.scatter.value", {row, indices({-1})}, {{"dim", 0}, {"value", 1.0}}));
  EXPECT_TRUE(faults("aten.scatter.src", {row, indices({9}), iota({3})}, {{"dim", 0}}));
  EXPECT_TRUE(faults("aten.scatter_add", {row, indices({9}), iota({3})}, {{"dim", 0}}));
}

TEST(Faults, AreTooFewValuesForAMask) {
  Tensor mask = Tensor::empty(DType::boolean, {3});
  std::fill_n(mask.as<bool>(), 3, true);
  EXPECT_FALSE(faults("aten.masked_scatter", {iota({3}), mask, iota({3})}));
  EXPECT_TRUE(faults("aten.masked_scatter", {iota({3}), mask, iota({2})}));
}

TEST(Faults, AreGroupsThatDoNotFollowEachOther) {
  const std::string_view op = "transformers.grouped_mm_fallback";
  EXPECT_FALSE(faults(op, {iota({4, 2}), iota({2, 2, 3}), indices({1, 3})}));
  EXPECT_TRUE(faults(op, {iota({4, 2}), iota({2, 2, 3}), indices({3, 1})}));
  EXPECT_TRUE(faults(op, {iota({4, 2}), iota({2, 2, 3}), indices({3, 5})}));
}

TEST(Faults, ArePositionsPastTheCache) {
  Tensor cache = iota({1, 2, 4, 1});
  EXPECT_FALSE(faults("cache_update", {cache, iota({1, 2, 2, 1}, 100), scalar(1)}));
  const std::vector<float> expected{0, 100, 101, 3, 4, 102, 103, 7};
  EXPECT_EQ(floats_of(cache), expected);
  EXPECT_TRUE(faults("cache_update", {cache, iota({1, 2, 2, 1}, 200), scalar(3)}));
  EXPECT_TRUE(faults("cache_update", {cache, iota({1, 2, 2, 1}, 200), scalar(-1)}));
  EXPECT_EQ(floats_of(cache), expected);
  EXPECT_FALSE(faults("cache_update", {cache, iota({1, 2, 2, 1}), scalar(2)}));
}

}  // namespace
}  // namespace ostinato::cpu
