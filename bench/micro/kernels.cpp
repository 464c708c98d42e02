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

/// y = x · wᵀ for so many weights.
Case product(const std::string& dtype, int rows, int in, int out, int count) {
  std::string text = fmt::format("input %0 \"x\" : {}({}, {})\n", dtype, rows, in);
  for (int i = 1; i <= count; ++i) {
    text += fmt::format("constant %{} \"w{}\" : {}({}, {})\n", i, i, dtype, out, in);
  }
  for (int i = 1; i <= count; ++i) {
    text += fmt::format("%{} : {}({}, {}) = aten.linear(%0, %{}, None)\n", count + i, dtype, rows,
                        out, i);
  }
  for (int i = 1; i <= count; ++i) text += fmt::format("output \"y{}\" %{}\n", i, count + i);
  return {fmt::format("product/{}/{}x{}x{}", dtype, rows, in, out), text};
}

/// As many weights as do not fit into any cache.
Case decode(const std::string& dtype, int rows, int in, int out) {
  const double bytes = static_cast<double>(size_of(dtype_of(dtype))) * in * out;
  return product(dtype, rows, in, out, std::max(1, static_cast<int>(3e8 / bytes)));
}

Case attention(const std::string& dtype, int heads, int key_heads, int queries, int keys, int head,
               bool causal) {
  return {fmt::format("attention/{}/{}x{}x{}x{}", dtype, heads, queries, keys, head),
          fmt::format("input %0 \"q\" : {0}(1, {1}, {3}, {5})\n"
                      "input %1 \"k\" : {0}(1, {2}, {4}, {5})\n"
                      "input %2 \"v\" : {0}(1, {2}, {4}, {5})\n"
                      "%3 : {0}(1, {1}, {3}, {5}) = attention(%0, %1, %2, None, None, None) "
                      "{{causal={6}, offset={7}}}\n"
                      "output \"y\" %3\n",
                      dtype, heads, key_heads, queries, keys, head, causal, keys - queries)};
}

/// A call on one value of (rows, columns), and on others of its type.
Case rows(const std::string& op, const std::string& dtype, int rows, int columns, int operands,
          const std::string& rest = "") {
  const std::string type = fmt::format("{}({}, {})", dtype, rows, columns);
  std::string text, names;
  for (int i = 0; i < operands; ++i) {
    text += fmt::format("input %{} \"x{}\" : {}\n", i, i, type);
    names += fmt::format("{}%{}", i == 0 ? "" : ", ", i);
  }
  text += fmt::format("%9 : {} = {}({}{}\noutput \"y\" %9\n", type, op, names,
                      rest.empty() ? ")" : rest);
  return {fmt::format("{}/{}/{}x{}", op, dtype, rows, columns), text};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* dtype : {"float32", "bfloat16"}) {
    for (const auto& [in, out] : {std::pair{768, 768}, {768, 3072}, {3072, 768}}) {
      all.push_back(product(dtype, 197, in, out, 4));  // ViT-B/16
    }
    for (const auto& [in, out] :
         {std::pair{1024, 2048}, {2048, 1024}, {1024, 3072}, {3072, 1024}}) {
      all.push_back(product(dtype, 128, in, out, 4));  // Qwen3-0.6B, a prompt
    }
    all.push_back(attention(dtype, 12, 12, 197, 197, 64, false));
    all.push_back(attention(dtype, 16, 8, 128, 128, 128, true));
    all.push_back(attention(dtype, 16, 8, 1, 512, 128, true));
    all.push_back(rows("layer_norm", dtype, 197, 768, 1, ", None, None) {eps=1e-12}"));
    all.push_back(rows("rms_norm", dtype, 128, 1024, 1, ", None) {eps=1e-06}"));
    all.push_back(rows("swiglu", dtype, 128, 3072, 2));
    all.push_back(rows("aten.gelu", dtype, 197, 3072, 1));
    all.push_back(rows("aten.add.Tensor", dtype, 197, 768, 2));
    all.push_back(rows("aten._softmax", dtype, 2364, 197, 1, ") {dim=-1}"));
  }
  for (const int batch : {1, 4, 8}) {
    for (const auto& [in, out] : {std::pair{1024, 3072}, {3072, 1024}, {1024, 151936}}) {
      all.push_back(decode("bfloat16", batch, in, out));  // Qwen3-0.6B, a step
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
