#include "ostinato/device/cuda/pointwise.h"

#include <limits>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cuda/elementwise.h"
#include "ostinato/device/cuda/factories.h"
#include "ostinato/ops/infer.h"

/// Operators of which each result depends on the operands' same element only.
namespace ostinato::cuda {

using device::Request;

namespace {

/// Which dtype an operator computes in: the result's, what its operands promote to, or float32.
enum class In { result, promoted, float32 };

/// An operator among the kernels: its arguments by name, of which each is a tensor or a scalar.
struct Row {
  const char* kernel;
  std::vector<std::string_view> sources = {"self"};
  In computed = In::result;
  /// Arguments whose scalars, and tensors without dims, are not rounded to that dtype first, as in
  /// PyTorch's products and quotients.
  std::vector<std::string_view> kept = {};
};

using Rows = std::map<std::string_view, Row>;

Rows unary_rows() {
  Rows rows;
  for (const char* name :
       {"acos",       "acosh",   "asin",  "asinh",       "atan",  "atanh",       "cos",
        "cosh",       "elu",     "erf",   "exp",         "expm1", "hardsigmoid", "hardswish",
        "leaky_relu", "log",     "log10", "log1p",       "log2",  "mish",        "reciprocal",
        "rsqrt",      "sigmoid", "silu",  "sin",         "sinh",  "softplus",    "sqrt",
        "tan",        "tanh",    "abs",   "ceil",        "floor", "neg",         "relu",
        "round",      "sign",    "trunc", "bitwise_not", "clamp"}) {
    static std::vector<std::unique_ptr<std::string>> names;  // rows point into them
    names.push_back(std::make_unique<std::string>(std::string("aten.") + name));
    rows[*names.back()] = {name};
  }
  rows["aten.gelu"] = {"gelu_erf"};
  rows["aten.hardtanh"] = {"clamp"};
  rows["aten.isinf"] = {"isinf", {"self"}, In::float32};
  rows["aten.isnan"] = {"isnan", {"self"}, In::float32};
  rows["aten.logical_not"] = {"logical_not", {"self"}, In::float32};
  rows["aten.clamp.Tensor"] = {"clamp_tensors", {"self", "min", "max"}};
  for (const std::string_view copy : {"aten._to_copy", "aten.clone", "aten.lift_fresh_copy"}) {
    rows[copy] = {"copy"};
  }
  rows["aten.copy"] = {"copy", {"src"}};
  return rows;
}

Rows binary_rows() {
  const std::vector<std::string_view> both = {"self", "other"};
  Rows rows;
  const auto add = [&rows](std::string_view tensor, std::string_view scalar, Row row) {
    rows[tensor] = row;
    rows[scalar] = std::move(row);
  };
  add("aten.add.Tensor", "aten.add.Scalar", {"add", both});
  add("aten.sub.Tensor", "aten.sub.Scalar", {"add", both});
  add("aten.mul.Tensor", "aten.mul.Scalar", {"mul", both, In::result, both});
  add("aten.div.Tensor", "aten.div.Scalar", {"div", both, In::result, both});
  add("aten.div.Tensor_mode", "aten.div.Scalar_mode", {"div", both, In::result, both});
  add("aten.fmod.Tensor", "aten.fmod.Scalar", {"fmod", both});
  add("aten.remainder.Tensor", "aten.remainder.Scalar", {"remainder", both});
  add("aten.bitwise_and.Tensor", "aten.bitwise_and.Scalar", {"bitwise_and", both});
  add("aten.bitwise_or.Tensor", "aten.bitwise_or.Scalar", {"bitwise_or", both});
  add("aten.bitwise_xor.Tensor", "aten.bitwise_xor.Scalar", {"bitwise_xor", both});
  add("aten.eq.Tensor", "aten.eq.Scalar", {"eq", both, In::promoted});
  add("aten.ne.Tensor", "aten.ne.Scalar", {"ne", both, In::promoted});
  add("aten.lt.Tensor", "aten.lt.Scalar", {"lt", both, In::promoted});
  add("aten.le.Tensor", "aten.le.Scalar", {"le", both, In::promoted});
  add("aten.gt.Tensor", "aten.gt.Scalar", {"gt", both, In::promoted});
  add("aten.ge.Tensor", "aten.ge.Scalar", {"ge", both, In::promoted});
  for (const std::string_view pow :
       {"aten.pow.Tensor_Scalar", "aten.pow.Scalar", "aten.pow.Tensor_Tensor"}) {
    rows[pow] = {"pow", {"self", "exponent"}, In::result, {"exponent"}};
  }
  rows["aten.minimum"] = {"minimum", both};
  rows["aten.maximum"] = {"maximum", both};
  rows["aten.atan2"] = {"atan2", both, In::result, both};
  rows["aten.logical_and"] = {"logical_and", both, In::float32};
  rows["aten.logical_or"] = {"logical_or", both, In::float32};
  rows["aten.logical_xor"] = {"logical_xor", both, In::float32};
  rows["aten.where.self"] = {"where", {"condition", "self", "other"}};
  rows["aten.masked_fill.Scalar"] = {"where", {"mask", "value", "self"}};
  rows["aten.masked_fill.Tensor"] = {"where", {"mask", "value", "self"}};
  rows["swiglu"] = {"swiglu", {"gate", "up"}};
  return rows;
}

const Rows& rows() {
  static const Rows instance = [] {
    Rows all = unary_rows();
    all.merge(binary_rows());
    return all;
  }();
  return instance;
}

double rounded(double value, DType dtype) {
  const auto narrow = static_cast<float>(value);
  if (dtype == DType::bfloat16) return to_float(from_float<bfloat16>(narrow));
  if (dtype == DType::float16) return to_float(from_float<float16>(narrow));
  return narrow;
}

int64_t wrapped(int64_t value, DType dtype) {
  if (dtype == DType::int32) return static_cast<int32_t>(value);
  if (dtype == DType::uint8) return static_cast<uint8_t>(value);
  return dtype == DType::boolean ? static_cast<int64_t>(value != 0) : value;
}

/// The argument of that name: a tensor, a scalar, or what stands for one that is None.
Source source_of(const Request& request, std::string_view name, DType dtype, bool keeps) {
  const ir::OpRow& op = *request.node->op;
  Source source;
  for (size_t i = 0; i < op.operands.size(); ++i) {
    if (op.operands[i].name != name || !request.inputs[i]) continue;
    source.tensor = &*request.inputs[i];
    source.operand = i;
    source.rounds =
        name != "condition" && name != "mask" && !(keeps && source.tensor->sizes().empty());
    return source;
  }
  if (name == "min" || name == "max") {
    const double infinity = std::numeric_limits<double>::infinity();
    using Integers = std::numeric_limits<int64_t>;
    source.real = name == "min" ? -infinity : infinity;
    source.integer = name == "min" ? Integers::min() : Integers::max();
    return source;
  }
  const ir::Attribute& scalar = request.node->attribute(name);
  source.real =
      keeps ? ir::number_of<double>(scalar) : rounded(ir::number_of<double>(scalar), dtype);
  if (!is_floating(dtype))
    source.integer = wrapped(ir::number_of<int64_t>(scalar), keeps ? DType::int64 : dtype);
  return source;
}

/// The numbers that the operator takes beside its operands.
void read_extra(const ir::Node& node, DType dtype, ElementwiseParams& params) {
  const std::string_view op = node.op->name;
  const auto reals = [&](std::vector<std::string_view> names) {
    for (size_t i = 0; i < names.size(); ++i) params.extra[i] = node.real(names[i]);
  };
  if (op.starts_with("aten.add.") || op.starts_with("aten.sub.")) {
    const int sign = op.starts_with("aten.sub.") ? -1 : 1;
    params.extra[0] = sign * ir::number_of<double>(node.attribute("alpha"));
    if (!is_floating(dtype))
      params.extra_integers[0] = sign * ir::number_of<int64_t>(node.attribute("alpha"));
  } else if (op == "aten.clamp" || op == "aten.hardtanh") {
    const bool hard = op == "aten.hardtanh";
    const double infinity = std::numeric_limits<double>::infinity();
    params.extra[0] = -infinity;
    params.extra[1] = infinity;
    params.extra_integers[0] = std::numeric_limits<int64_t>::min();
    params.extra_integers[1] = std::numeric_limits<int64_t>::max();
    const std::string_view names[] = {hard ? "min_val" : "min", hard ? "max_val" : "max"};
    for (size_t i = 0; i < 2; ++i) {
      if (!node.has(names[i])) continue;
      params.extra[i] = ir::number_of<double>(node.attribute(names[i]));
      if (!is_floating(dtype))
        params.extra_integers[i] = ir::number_of<int64_t>(node.attribute(names[i]));
    }
  } else if (op == "aten.elu") {
    reals({"alpha", "scale", "input_scale"});
  } else if (op == "aten.leaky_relu") {
    reals({"negative_slope"});
  } else if (op == "aten.softplus") {
    reals({"beta", "threshold"});
  }
}

std::string kernel_of(const ir::Node& node, const Row& row, DType dtype) {
  const std::string_view op = node.op->name;
  if (op == "aten.bitwise_not" && dtype == DType::boolean) return "logical_not";
  if (op == "aten.gelu" && node.string("approximate") == "tanh") return "gelu_tanh";
  if (op.ends_with("_mode") && node.has("rounding_mode")) {
    return "div_" + node.string("rounding_mode");
  }
  return row.kernel;
}

DType computed_in(const Request& request, const Row& row) {
  const ir::Node& node = *request.node;
  if (std::string_view(row.kernel) == "copy") {
    const size_t operand = node.op->name == "aten.copy" ? 1 : 0;
    return request.inputs[operand]->dtype;
  }
  switch (row.computed) {
    case In::result: return request.outputs[0].dtype;
    case In::float32: return DType::float32;
    case In::promoted:
      return ops::promote(node.operands,
                          node.attributes.empty() ? ir::Attribute{} : node.attributes.front());
  }
  __builtin_unreachable();
}

std::unique_ptr<Kernel> make_pointwise(const Request& request, Functions& functions) {
  const Pointwise call = *pointwise_of(request);
  auto kernel = std::make_unique<Kernel>();
  if (request.outputs[0].numel() == 0) return kernel;
  const auto launch = elementwise(functions, call.function, call.computed, call.sources,
                                  request.outputs[0], call.extra);
  if (!launch) return nullptr;
  kernel->work.push_back({*launch, nullptr});
  return kernel;
}

}  // namespace

std::optional<Pointwise> pointwise_of(const Request& request) {
  const auto found = rows().find(request.node->op->name);
  if (found == rows().end()) return std::nullopt;
  const Row& row = found->second;
  Pointwise call;
  call.computed = computed_in(request, row);
  call.function = kernel_of(*request.node, row, call.computed);
  for (const std::string_view name : row.sources) {
    const bool keeps = std::find(row.kept.begin(), row.kept.end(), name) != row.kept.end();
    call.sources.push_back(source_of(request, name, call.computed, keeps));
  }
  read_extra(*request.node, call.computed, call.extra);
  return call;
}

void add_pointwise(KernelTable& table) {
  for (const auto& entry : rows()) table.emplace(entry.first, make_pointwise);
}

}  // namespace ostinato::cuda
