#include "ostinato/passes/pipeline.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "ostinato/base/error.h"
#include "ostinato/ir/verifier.h"

namespace ostinato::passes {

namespace {

constexpr std::array<Pass, 21> kPasses = {{
    {"use_linear", "Makes dense layers of products by weights, with their biases and whole rows.",
     use_linear},
    {"fold_views", "Makes one view of a chain of reshapes, permutations or expansions.",
     fold_views},
    {"remove_noops", "Removes calls that give back an operand: copies, full slices, sums with 0.",
     remove_noops},
    // Before the fusions, which ask who reads a value.
    {"eliminate_dead", "Removes what no output and no state depends on.", eliminate_dead},
    {"fuse_rms_norm", "Makes one call of x / sqrt(mean(x²) + eps), its casts and its weight.",
     fuse_rms_norm},
    {"fuse_layer_norm", "Makes one call of (x - mean) / sqrt(var + eps), its weight and its bias.",
     fuse_layer_norm},
    {"fuse_gelu", "Makes one call of x / 2 · (1 + erf(x / √2)), or of its form with tanh.",
     fuse_gelu},
    {"fuse_swiglu", "Makes one call of silu(gate) · up, or of gelu(gate) · up.", fuse_swiglu},
    {"fuse_rotary", "Makes one call of x · cos + rotate_half(x) · sin.", fuse_rotary},
    {"fuse_softmax", "Makes one call of softmax(q · kᵀ · scale + mask) · v.", fuse_softmax},
    // While masks are computed still, not folded.
    {"fuse_attention", "Reads causal masks, windows and repeated heads off what computes them.",
     fuse_attention},
    {"fuse_linear", "Applies an activation and a sum to the tiles of the product before them.",
     fuse_linear},
    {"fuse_gated_linear", "Makes one call of a gated MLP's two products and what joins them.",
     fuse_gated_linear, false, "gated_linear"},
    {"merge_linears", "Makes one call of the products of one operand with several weights.",
     merge_linears, false, "linears"},
    {"fuse_rotary_pair",
     "Makes one call of the norms, rotary embeddings and cache writes before attention.",
     fuse_rotary_pair, false, "rotary_pair"},
    // After the products have taken what they can.
    {"fuse_add_norm", "Makes one call of a sum and its RMSNorm or LayerNorm.", fuse_add_norm},
    {"eliminate_common", "Computes equal calls once, and keeps equal constants once.",
     eliminate_common},
    // After equal calls are one, so that each is folded once.
    {"fold_constants", "Computes what depends on constants only, once, where that is small.",
     fold_constants},
    // After what could make one call of all rows.
    {"select_early",
     "Computes only those rows of layers, norms and attention that something reads.", select_early,
     true, "", true},
    // After all that merges products or makes other use of a norm.
    {"fuse_norm_linear", "Makes one call of an RMSNorm and the products of what it gives.",
     fuse_norm_linear, true, "norm_linears"},
    {"fuse_elementwise",
     "Makes one loop of connected elementwise calls and a reduction after them.", fuse_elementwise,
     true},
}};

std::vector<const Pass*> chosen(const PipelineOptions& options) {
  const std::vector<std::string>& off = options.off;
  check_names(off);
  std::vector<const Pass*> passes;
  for (const Pass& pass : kPasses) {
    if (pass.late && !options.late) continue;
    if (std::find(off.begin(), off.end(), pass.name) == off.end()) passes.push_back(&pass);
  }
  return passes;
}

void verify_after([[maybe_unused]] const Pass& pass, [[maybe_unused]] const ir::Graph& graph) {
#ifndef NDEBUG
  try {
    ir::verify(graph);
  } catch (const Error& error) {
    throw Error(error.code(), error.stage(),
                fmt::format("after {}: {}", pass.name, error.message()), error.hint());
  }
#endif
}

}  // namespace

std::span<const Pass> pipeline() { return kPasses; }

void check_names(const std::vector<std::string>& names) {
  std::vector<std::string_view> known;
  for (const Pass& pass : kPasses) known.push_back(pass.name);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    fail(ErrorCode::invalid_argument, "passes/pipeline",
         fmt::format("The passes are: {}.", fmt::join(known, ", ")), "there is no pass '{}'", name);
  }
}

std::vector<PassReport> optimise(ir::Graph& graph, const PipelineOptions& options) {
  using Clock = std::chrono::steady_clock;
  const std::vector<const Pass*> passes = chosen(options);
  const auto early = static_cast<size_t>(
      std::count_if(passes.begin(), passes.end(), [](const Pass* pass) { return !pass->late; }));
  std::vector<PassReport> reports;
  size_t unchanged = 0;  // passes in a row that found nothing to do
  for (int round = 1; round <= kMaxRounds; ++round) {
    for (const Pass* pass : passes) {
      if (unchanged == passes.size()) return reports;
      if (pass->late != (unchanged >= early)) continue;
      PassReport report{pass->name, round, false, graph.nodes().size(), 0, 0};
      const auto start = Clock::now();
      report.changed = pass->run(graph, options.context);
      const auto elapsed = Clock::now() - start;
      report.microseconds = std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count();
      report.nodes_after = graph.nodes().size();
      unchanged = report.changed ? 0 : unchanged + 1;
      verify_after(*pass, graph);
      if (options.after_each) options.after_each(report, graph);
      reports.push_back(report);
    }
  }
  return reports;
}

void optimise_bound(ir::Graph& graph, const PipelineOptions& options) {
  for (const Pass* pass : chosen(options)) {
    if (!pass->by_size) continue;
    pass->run(graph, options.context);
    verify_after(*pass, graph);
  }
}

}  // namespace ostinato::passes
