#include <set>

#include "ops/calls.h"

namespace ostinato::ops {
namespace {

using ir::Dim;
using ir::Node;
using ir::Shape;
using ir::Value;

class Expansions : public Calls {
 protected:
  // Calls of every fused operator, with sizes that are integers and sizes that are not.
  std::vector<Node*> examples(const Dim& b, const Dim& s, DType dtype) {
    const auto x = [&](Shape shape) { return input(std::move(shape), dtype); };
    const auto mask = [&](Shape shape) { return input(std::move(shape), DType::boolean); };
    Value *hidden = x({b, s, 8}), *q = x({b, 6, s, 8}), *k = x({b, 2, s + 3, 8});
    Value *v = x({b, 2, s + 3, 4}), *position = input({}, DType::int64), *flat = x({b, s, 8});
    const std::string_view sdpa = "aten.scaled_dot_product_attention";
    return {
        call("rms_norm", {hidden, x({8})}, {{"eps", 1e-6}}),
        call("rms_norm", {hidden, nullptr}, {{"eps", 1e-6}}),
        call("rms_norm", {hidden, input({8})}, {{"eps", 1e-6}}),
        call("add_rms_norm", {hidden, x({b, s, 8}), x({8})}, {{"eps", 1e-6}}),
        call("add_rms_norm", {hidden, input({b, s, 8}), x({8})}, {{"eps", 1e-6}}),
        call("layer_norm", {hidden, x({8}), x({8})}, {{"eps", 1e-5}}),
        call("layer_norm", {hidden, nullptr, nullptr}, {{"eps", 1e-5}}),
        call("add_layer_norm", {hidden, x({b, s, 8}), x({8}), nullptr}, {{"eps", 1e-5}}),
        call("swiglu", {hidden, x({b, s, 8})}),
        call("geglu", {hidden, x({b, s, 8})}, {{"approximate", "tanh"}}),
        call("rotary", {q, x({s, 8}), x({s, 8})}),
        call("rotary", {q, x({b, 1, s, 4}), x({b, 1, s, 4})}, {{"interleaved", true}}),
        call("rotary", {q, input({s, 4}), input({s, 4})}),
        call("rotary", {q, input({s, 4}), input({s, 4})}, {{"dtype", dtype}}),
        call("linear", {hidden, x({5, 8}), x({5}), x({b, s, 5})}, {{"activation", "gelu_tanh"}}),
        call("linear", {hidden, x({5, 8}), nullptr, nullptr}, {{"activation", "silu"}}),
        call("linear", {hidden, x({5, 8}), x({5}), nullptr}, {{"activation", "quick_gelu"}}),
        call("linears", {hidden, x({5, 8}), x({5}), x({3, 8}), nullptr}),
        call("gated_linear", {hidden, x({5, 8}), x({5, 8}), nullptr, x({5})},
             {{"activation", "gelu"}}),
        call("norm_linears", {hidden, x({8}), x({5, 8}), x({5}), x({3, 8}), nullptr},
             {{"eps", 1e-6}}),
        call("norm_gated_linear", {hidden, nullptr, x({5, 8}), x({5, 8}), nullptr, x({5})},
             {{"activation", "silu"}, {"eps", 1e-6}}),
        call("rotary_pair", {q, x({b, 2, s, 8}), x({s, 4}), x({s, 4}), nullptr, nullptr}),
        call("rotary_pair", {q, x({b, 2, s, 8}), x({s, 8}), x({s, 8}), x({8}), x({8})},
             {{"eps", 1e-6}, {"interleaved", true}}),
        call("rotary_pair", {q, x({b, 2, s, 8}), input({s, 4}), input({s, 4}), nullptr, nullptr}),
        call("rotary_cache",
             {q, state({b, 2, 9, 8}, dtype), x({b, 2, s, 8}), state({b, 2, 9, 4}, dtype),
              x({b, 2, s, 4}), position, x({s, 8}), x({s, 8}), x({8}), nullptr},
             {{"eps", 1e-6}}),
        call("attention", {q, k, v, nullptr, nullptr}),
        call("attention", {q, k, v, mask({s, s + 3}), nullptr}, {{"causal", true}, {"offset", 3}}),
        call("attention", {q, k, v, x({b, 1, s, s + 3}), position},
             {{"causal", true}, {"window", 4}, {"scale", 0.5}}),
        call("attention", {q, k, v, nullptr, nullptr, x({6})}, {{"softcap", 30.0}}),
        call(sdpa, {q, k, v, nullptr}, {{"enable_gqa", true}}),
        call(sdpa, {flat, flat, flat, nullptr}, {{"is_causal", true}}),
        call(sdpa, {flat, flat, flat, mask({s, s})}),
        call("fused_elementwise", {hidden, x({8})},
             {{"program", "%2 = aten.mul.Tensor(%0, %1); %3 = aten.gt.Scalar(%2) {other=0}"}}),
        call("fused_reduction", {hidden, x({8})},
             {{"program", "%2 = aten.mul.Tensor(%0, %1); %3 = aten.amax(%2) {dim=[-1]}"}}),
    };
  }

  void expect_types_kept(const std::vector<Node*>& nodes) {
    for (const Node* node : nodes) {
      SCOPED_TRACE(node->op->name);
      ir::Builder builder(graph_, table(), node);
      const std::vector<Value*> results = node->op->expand(builder, *node);
      ASSERT_EQ(results.size(), node->results.size());
      for (size_t i = 0; i < results.size(); ++i) {
        EXPECT_EQ(results[i]->dtype(), node->results[i]->dtype());
        EXPECT_EQ(to_string(results[i]->shape()), to_string(node->results[i]->shape()));
      }
    }
  }
};

TEST_F(Expansions, KeepTypes) {
  for (DType dtype : {DType::float32, DType::bfloat16}) expect_types_kept(examples(2, 5, dtype));
}

TEST_F(Expansions, KeepSymbolicTypes) {
  for (DType dtype : {DType::float32, DType::bfloat16}) expect_types_kept(examples(s0, s1, dtype));
}

TEST_F(Expansions, AreAllTried) {
  std::set<std::string_view> tried;
  for (const Node* node : examples(2, 5, DType::float32)) tried.insert(node->op->name);
  for (const ir::OpRow* row : table().rows()) {
    EXPECT_EQ(row->expand != nullptr, tried.contains(row->name)) << row->name;
  }
}

TEST_F(Expansions, AreOfPlainOperators) {
  for (const Node* node : examples(2, 5, DType::bfloat16)) {
    ir::Builder builder(graph_, table(), node);
    const auto before =
        node->position == graph_.nodes().begin() ? graph_.nodes().end() : std::prev(node->position);
    node->op->expand(builder, *node);
    auto it = before == graph_.nodes().end() ? graph_.nodes().begin() : std::next(before);
    for (; it->get() != node; ++it) {
      EXPECT_EQ((*it)->op->expand, nullptr) << (*it)->op->name << " within " << node->op->name;
    }
  }
}

TEST_F(Expansions, RejectOperandsThatDoNotFit) {
  Value *q = input({2, 6, 5, 8}), *k = input({2, 2, 9, 8}), *v = input({2, 2, 9, 4});
  const auto attend = [&](std::vector<Value*> operands,
                          const std::vector<ir::NamedAttribute>& attributes,
                          const std::string& part) {
    expect_rejected("attention", std::move(operands), attributes, part);
  };
  attend({q, input({2, 4, 9, 8}), input({2, 4, 9, 8}), nullptr, nullptr}, {},
         "4 key heads among 6");
  attend({q, k, input({2, 2, 8, 4}), nullptr, nullptr}, {}, "the length of 'value' to be 9, got 8");
  attend({q, input({2, 2, 9, 7}), v, nullptr, nullptr}, {}, "the last dim of 'key' to be 8, got 7");
  attend({q, k, v, input({5, 8}), nullptr}, {}, "cannot broadcast (5, 8) to (2, 6, 5, 9)");
  attend({q, k, v, input({5, 9}, DType::int64), nullptr}, {}, "floating dtype, got int64");
  attend({q, k, v, nullptr, input({}, DType::float32)}, {}, "int64 or int32 indices");
  attend({q, k, v, nullptr, nullptr}, {{"window", 3}}, "only with causal=true");
  attend({q, k, v, nullptr, nullptr}, {{"window", 0}, {"causal", true}}, "at least 1, got 0");
  attend({q, k, v, nullptr, nullptr, input({2})}, {}, "the length of 'sinks' to be 6, got 2");
  attend({q, k, v}, {{"softcap", 0.0}}, "a softcap above 0, got 0");
  const std::string_view sdpa = "aten.scaled_dot_product_attention";
  expect_rejected(sdpa, {q, k, v, nullptr}, {}, "to be 6, got 2");
  expect_rejected(sdpa, {q, q, q, nullptr}, {{"dropout_p", 0.1}}, "no dropout, got 0.1");
  expect_rejected(sdpa, {q, q, q, input({5, 5})}, {{"is_causal", true}}, "got both");
  expect_rejected("rotary", {q, input({5, 3}), input({5, 3})}, {}, "an even last dim of 'cos'");
  expect_rejected("rotary", {q, input({5, 16}), input({5, 16})}, {}, "at most 8, got 16");
  expect_rejected("rotary", {q, input({5, 2}), input({min(2, s0)})}, {}, "last dim of 'sin' of 2");
  expect_rejected("rotary", {q, input({5, 2}), input({5, 2})}, {{"dtype", DType::int64}},
                  "expected floats, got int64");
  expect_rejected("rms_norm", {q, input({7})}, {{"eps", 0.1}}, "'weight' to be 8, got 7");
  expect_rejected("linear", {q, input({3, 8}), nullptr, nullptr}, {{"activation", "tanh"}},
                  "there is no activation 'tanh'");
  expect_rejected("linear", {q, input({3, 8}), nullptr, input({3, 2})}, {}, "cannot broadcast");
  expect_rejected("geglu", {q, q}, {{"approximate", "sigmoid"}}, "none or tanh, got 'sigmoid'");
  expect_rejected("linears", {q, input({3, 8})}, {}, "pairs of weights and biases, got 1");
  expect_rejected("linears", {q, nullptr, input({3})}, {}, "expected weight 0, got None");
  expect_rejected("linears", {q, input({3, 7}), nullptr}, {}, "to be 7, got 8");
  expect_rejected("gated_linear", {q, input({3, 8}), input({4, 8}), nullptr, nullptr},
                  {{"activation", "silu"}}, "the first dim of 'up_weight' to be 3, got 4");
  expect_rejected("rotary_pair", {q, k, input({8}), input({8}), input({8}), nullptr}, {},
                  "no 'query_weight' without eps");
  expect_rejected("rotary_pair", {q, input({2, 2, 9, 6}), input({4}), input({4})}, {},
                  "the last dim of 'key' to be 8, got 6");
  expect_rejected("rotary_pair", {q, k, input({8}), input({8}), nullptr, input({7})},
                  {{"eps", 1e-6}}, "the length of 'key_weight' to be 8, got 7");
  expect_rejected("cache_update", {k, input({2, 2, 10, 8}), input({}, DType::int64)}, {},
                  "at most 9 new rows, got 10");
}

}  // namespace
}  // namespace ostinato::ops
