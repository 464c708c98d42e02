#include <algorithm>
#include <map>

#include "ostinato/device/cuda/factories.h"
#include "ostinato/device/cuda/pointwise.h"
#include "ostinato/ops/fused_elementwise.h"

/// Connected elementwise calls as one launch.
namespace ostinato::cuda {

using device::Request;
using device::TensorDesc;

namespace {

/// The place of a function in the kernel's list; nothing when it is not in it.
std::optional<int32_t> function_of(const std::string& name, bool is_real) {
#define OSTINATO_NAME(name, sources, Op) #name,
  static const std::vector<std::string> reals = {OSTINATO_REAL_FUNCTIONS(OSTINATO_NAME)};
  static const std::vector<std::string> integers = {OSTINATO_INTEGER_FUNCTIONS(OSTINATO_NAME)};
#undef OSTINATO_NAME
  const std::vector<std::string>& names = is_real ? reals : integers;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<int32_t>(found - names.begin());
}

TensorDesc desc_of(const ir::Value& value) {
  return {value.dtype(), ir::Layout::contiguous(ir::to_integers(value.shape()))};
}

/// Where each value of a program is among the kernel's.
using Places = std::map<const ir::Value*, int32_t>;

std::optional<ProgramCall> call_of(const ir::Node& node, const Places& places) {
  Request request;
  request.node = &node;
  for (const ir::Value* operand : node.operands) request.inputs.emplace_back(desc_of(*operand));
  request.outputs = {desc_of(*node.results[0])};
  const auto pointwise = pointwise_of(request);
  if (!pointwise) return std::nullopt;
  ProgramCall call{};
  call.is_real = is_floating(pointwise->computed) ? 1 : 0;
  const auto function = function_of(pointwise->function, call.is_real != 0);
  if (!function) return std::nullopt;
  call.function = *function;
  call.computed = type_of(pointwise->computed);
  call.result = type_of(request.outputs[0].dtype);
  std::copy_n(pointwise->extra.extra, 3, call.extra);
  std::copy_n(pointwise->extra.extra_integers, 3, call.extra_integers);
  for (ProgramSource& source : call.sources) source.value = -1;
  for (size_t i = 0; i < pointwise->sources.size(); ++i) {
    const Source& from = pointwise->sources[i];
    ProgramSource& to = call.sources[i];
    to.real = from.real;
    to.integer = from.integer;
    if (from.tensor == nullptr) continue;
    to.value = places.at(node.operands[from.operand]);
    to.type = type_of(from.tensor->dtype);
    to.rounds = from.rounds && from.tensor->dtype != pointwise->computed ? 1 : 0;
  }
  return call;
}

/// Nothing for what the kernel has no room for, and for values smaller than the result.
std::unique_ptr<Kernel> make_fused_elementwise(const Request& request, Functions& functions) {
  const ir::Graph program = ops::program_of(*request.node);
  const TensorDesc& y = request.outputs[0];
  const size_t rank = y.sizes().size();
  if (request.inputs.size() > kMostTensors || program.nodes().size() > kMostCalls ||
      rank > kMaxDims) {
    return nullptr;
  }
  ProgramParams params{};
  params.count = y.numel();
  params.dims = static_cast<int32_t>(rank);
  std::copy(y.sizes().begin(), y.sizes().end(), params.sizes);
  Places places;
  Launch launch;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const TensorDesc& x = *request.inputs[i];
    const std::vector<int64_t> strides = broadcast_strides(x, y.sizes());
    std::copy(strides.begin(), strides.end(), params.strides[i]);
    params.types[i] = type_of(x.dtype);
    places[program.inputs()[i]] = params.tensor_count++;
    launch.operands.push_back({Use::Of::input, i, 0});
  }
  for (const auto& node : program.nodes()) {
    const auto call = call_of(*node, places);
    if (!call || ir::to_integers(node->results[0]->shape()) != y.sizes()) return nullptr;
    places[node->results[0]] = params.tensor_count + params.call_count;
    params.calls[params.call_count++] = *call;
  }
  auto kernel = std::make_unique<Kernel>();
  if (params.count == 0) return kernel;
  launch.function = functions.find("program");
  launch.threads = 128;
  launch.grid[0] = blocks_for(params.count, launch.threads, functions);
  launch.operands.push_back({Use::Of::output, 0, 0});
  launch.params = bytes_of_params(params);
  kernel->work.push_back({std::move(launch), nullptr});
  return kernel;
}

}  // namespace

void add_program(KernelTable& table) { table["fused_elementwise"] = make_fused_elementwise; }

}  // namespace ostinato::cuda
