// Each kernel at the sizes of real models, as a graph of one call or of several that share no
// weights: one after the other they come from memory and not from a cache, as in a model.
#include <benchmark/benchmark.h>

#include <algorithm>

#include "graphs.h"
#include "ostinato/base/error.h"
#include "ostinato/base/threads.h"
#include "ostinato/bench/latency.h"
#include "ostinato/passes/cost.h"
#include "ostinato/runtime/context.h"

namespace ostinato {
namespace {

/// A graph's statements.
struct Case {
  std::string name, statements;
};

/// The median's distance to the median: how much the repetitions differ.
double mad(const std::vector<double>& values) { return bench::summarise(values).mad; }

void replay(benchmark::State& state, const Case& what) {
  const auto program = std::make_shared<const runtime::Program>(
      make_graph(what.statements), device::get("cpu"),
      runtime::ProgramOptions{Mode::graph, default_threads(), {}, {}});
  runtime::Context context(program);
  const std::vector<Tensor> inputs = random_inputs(program->graph());
  std::vector<Tensor> outputs = context.run(inputs);
  for (auto _ : state) context.run_into(inputs, outputs);
  const passes::Cost cost = passes::cost_of(program->graph(), {1, 1});
  using benchmark::Counter;
  state.counters["FLOP/s"] = Counter(cost.flops, Counter::kIsIterationInvariantRate);
  state.counters["B/s"] = Counter(cost.bytes, Counter::kIsIterationInvariantRate);
}

/// So many calls of so many weights each that no cache holds them.
int calls_of(const std::string& dtype, double weights) {
  const double bytes = weights * static_cast<double>(size_of(dtype_of(dtype)));
  return std::max(1, static_cast<int>(1e8 / bytes));
}

/// y = x · wᵀ, of one x.
Case product(const std::string& dtype, int rows, int in, int out) {
  Statements graph;
  const std::string x = graph.input(type_of(dtype, {rows, in}));
  for (int i = calls_of(dtype, 1.0 * in * out); i > 0; --i) {
    const std::string weight = graph.constant(type_of(dtype, {out, in}));
    graph.output(graph.call({type_of(dtype, {rows, out})},
                            fmt::format("aten.linear({}, {}, None)", x, weight))[0]);
  }
  return {fmt::format("product/{}/{}x{}x{}", dtype, rows, in, out), graph.text()};
}

/// A few columns of a result that is needed no longer, so that its memory is the next one's.
void output_some(Statements& graph, const std::string& value, const std::string& dtype, int rows) {
  graph.output(
      graph.call({type_of(dtype, {rows, 16})},
                 fmt::format("aten.slice.Tensor({}) {{dim=1, start=0, end=16}}", value))[0]);
}

/// Queries, keys and values, of one x.
Case attention_inputs(const std::string& dtype, int rows, int in, int queries, bool biased) {
  Statements graph;
  const std::string x = graph.input(type_of(dtype, {rows, in}));
  for (int i = calls_of(dtype, 1.0 * in * (queries + 2 * in)); i > 0; --i) {
    std::vector<std::string> types, weights;
    for (const int out : {queries, in, in}) {
      types.push_back(type_of(dtype, {rows, out}));
      weights.push_back(graph.constant(type_of(dtype, {out, in})));
      weights.push_back(biased ? graph.constant(type_of(dtype, {out})) : "None");
    }
    const std::string call = fmt::format("linears({}, [{}])", x, fmt::join(weights, ", "));
    for (const std::string& result : graph.call(types, call)) {
      output_some(graph, result, dtype, rows);
    }
  }
  return {fmt::format("linears/{}/{}x{}x{}", dtype, rows, in, queries + 2 * in), graph.text()};
}

/// x · wᵀ + r, with a bias or without, where r is the sum before.
Case residual_linear(const std::string& dtype, int rows, int in, int out, bool biased) {
  Statements graph;
  const std::string x = graph.input(type_of(dtype, {rows, in})), type = type_of(dtype, {rows, out});
  std::string sum = graph.input(type);
  for (int i = calls_of(dtype, 1.0 * in * out); i > 0; --i) {
    const std::string weight = graph.constant(type_of(dtype, {out, in})),
                      bias = biased ? graph.constant(type_of(dtype, {out})) : "None";
    sum = graph.call({type}, fmt::format("linear({}, {}, {}, {})", x, weight, bias, sum))[0];
  }
  graph.output(sum);
  return {fmt::format("linear+residual/{}/{}x{}x{}", dtype, rows, in, out), graph.text()};
}

/// gelu(x · wᵀ + b), of one x.
Case gelu_linear(const std::string& dtype, int rows, int in, int out) {
  Statements graph;
  const std::string x = graph.input(type_of(dtype, {rows, in}));
  for (int i = calls_of(dtype, 1.0 * in * out); i > 0; --i) {
    const std::string weight = graph.constant(type_of(dtype, {out, in})),
                      bias = graph.constant(type_of(dtype, {out}));
    const std::string call =
        fmt::format("linear({}, {}, {}, None) {{activation=\"gelu\"}}", x, weight, bias);
    output_some(graph, graph.call({type_of(dtype, {rows, out})}, call)[0], dtype, rows);
  }
  return {fmt::format("linear+gelu/{}/{}x{}x{}", dtype, rows, in, out), graph.text()};
}

/// silu(x · gᵀ) · (x · uᵀ), of one x.
Case gated_linear(const std::string& dtype, int rows, int in, int out) {
  Statements graph;
  const std::string x = graph.input(type_of(dtype, {rows, in}));
  for (int i = calls_of(dtype, 2.0 * in * out); i > 0; --i) {
    const std::string gate = graph.constant(type_of(dtype, {out, in})),
                      up = graph.constant(type_of(dtype, {out, in}));
    const std::string call =
        fmt::format("gated_linear({}, {}, {}, None, None) {{activation=\"silu\"}}", x, gate, up);
    output_some(graph, graph.call({type_of(dtype, {rows, out})}, call)[0], dtype, rows);
  }
  return {fmt::format("gated_linear/{}/{}x{}x{}", dtype, rows, in, out), graph.text()};
}

Case attention(const std::string& dtype, int heads, int key_heads, int queries, int keys, int head,
               bool causal) {
  Statements graph;
  const std::string type = type_of(dtype, {1, heads, queries, head}),
                    key_type = type_of(dtype, {1, key_heads, keys, head});
  const std::string q = graph.input(type), k = graph.input(key_type), v = graph.input(key_type);
  graph.output(graph.call({type}, fmt::format("attention({}, {}, {}, None, None, None) "
                                              "{{causal={}, offset={}}}",
                                              q, k, v, causal, keys - queries))[0]);
  return {fmt::format("attention/{}/{}x{}x{}x{}", dtype, heads, queries, keys, head), graph.text()};
}

/// RMSNorm and rotary embedding of queries and keys (rows, heads, head), as Qwen3 has them.
Case rotary(const std::string& dtype, int heads, int key_heads, int rows, int head) {
  Statements graph;
  std::vector<std::string> operands, types;
  for (const int count : {heads, key_heads}) {
    const std::string x = graph.input(type_of(dtype, {1, rows, count, head}));
    types.push_back(type_of(dtype, {1, count, rows, head}));
    operands.push_back(
        graph.call({types.back()}, fmt::format("aten.permute({}) {{dims=[0, 2, 1, 3]}}", x))[0]);
  }
  for (int i = 0; i < 2; ++i) operands.push_back(graph.input(type_of(dtype, {1, 1, rows, head})));
  for (int i = 0; i < 2; ++i) operands.push_back(graph.constant(type_of(dtype, {head})));
  for (const std::string& result :
       graph.call(types, fmt::format("rotary_pair({}) {{eps=1e-06}}", fmt::join(operands, ", ")))) {
    graph.output(result);
  }
  return {fmt::format("rotary_pair/{}/{}x{}x{}", dtype, heads + key_heads, rows, head),
          graph.text()};
}

/// A call on one value of (rows, columns), and on others of its type.
Case rows(const std::string& op, const std::string& dtype, int rows, int columns, int operands,
          const std::string& rest = ")") {
  Statements graph;
  const std::string type = type_of(dtype, {rows, columns});
  std::vector<std::string> values;
  for (int i = 0; i < operands; ++i) values.push_back(graph.input(type));
  graph.output(graph.call({type}, fmt::format("{}({}{}", op, fmt::join(values, ", "), rest))[0]);
  return {fmt::format("{}/{}/{}x{}", op, dtype, rows, columns), graph.text()};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* dtype : {"float32", "bfloat16"}) {
    // ViT-B/16.
    all.push_back(attention_inputs(dtype, 197, 768, 768, true));
    all.push_back(attention(dtype, 12, 12, 197, 197, 64, false));
    all.push_back(residual_linear(dtype, 197, 768, 768, true));
    all.push_back(gelu_linear(dtype, 197, 768, 3072));
    all.push_back(residual_linear(dtype, 197, 3072, 768, true));
    all.push_back(rows("layer_norm", dtype, 197, 768, 1, ", None, None) {eps=1e-12}"));
    all.push_back(rows("aten.gelu", dtype, 197, 3072, 1));
    all.push_back(rows("aten.add.Tensor", dtype, 197, 768, 2));
    all.push_back(rows("aten._softmax", dtype, 2364, 197, 1, ") {dim=-1}"));
    // Qwen3-0.6B, a prompt, and the attention of a step.
    all.push_back(attention_inputs(dtype, 128, 1024, 2048, false));
    all.push_back(rotary(dtype, 16, 8, 128, 128));
    all.push_back(attention(dtype, 16, 8, 128, 128, 128, true));
    all.push_back(residual_linear(dtype, 128, 2048, 1024, false));
    all.push_back(gated_linear(dtype, 128, 1024, 3072));
    all.push_back(residual_linear(dtype, 128, 3072, 1024, false));
    all.push_back(rows("rms_norm", dtype, 128, 1024, 1, ", None) {eps=1e-06}"));
    all.push_back(rows("swiglu", dtype, 128, 3072, 2));
    all.push_back(attention(dtype, 16, 8, 1, 512, 128, true));
  }
  for (const int batch : {1, 4, 8}) {
    for (const auto& [in, out] : {std::pair{1024, 3072}, {3072, 1024}, {1024, 151936}}) {
      all.push_back(product("bfloat16", batch, in, out));  // Qwen3-0.6B, a step
    }
  }
  return all;
}

const bool registered = [] {
  for (const Case& what : cases()) {
    benchmark::RegisterBenchmark(what.name.c_str(), replay, what)
        ->UseRealTime()
        ->ComputeStatistics("mad", mad);
  }
  return true;
}();

}  // namespace
}  // namespace ostinato
