#include "ostinato/import/hf/modules.h"

#include <cmath>
#include <utility>

#include "ostinato/base/error.h"
#include "ostinato/ops/ops.h"

namespace ostinato::importer {

using ir::Dim;
using ir::Shape;
using ir::Value;

Net::Net(ir::Graph& graph, DType dtype)
    : graph_(graph), builder_(graph, ops::table()), dtype_(dtype) {}

Value* Net::parameter(std::string name, std::vector<int64_t> shape, Init init) {
  if (const auto it = values_.find(name); it != values_.end()) return it->second;
  ir::ValueType type{dtype_, Shape(shape.begin(), shape.end())};
  Value* value = graph_.add_constant(name, std::move(type));
  values_.emplace(name, value);
  parameters_.push_back({std::move(name), std::move(shape), init});
  return value;
}

Module Module::operator[](std::string_view child) const {
  if (child.empty()) return *this;
  return Module(*net_, path_.empty() ? std::string(child) : fmt::format("{}.{}", path_, child));
}

Module Module::operator[](int64_t index) const { return (*this)[std::to_string(index)]; }

Value* Module::parameter(std::string_view name, std::vector<int64_t> shape, Init init) const {
  return net_->parameter((*this)[name].path_, std::move(shape), init);
}

Value* Module::operator()(std::string_view op, std::vector<Value*> operands,
                          const std::vector<ir::NamedAttribute>& attributes) const {
  net_->builder().set_source(path_);
  return net_->builder()(op, std::move(operands), attributes);
}

Value* linear(const Module& module, Value* x, const LinearSpec& spec) {
  Value* weight = module.parameter("weight", {spec.out, spec.in}, Init::normal(spec.deviation));
  Value* bias = spec.bias ? module.parameter("bias", {spec.out}, Init::zeros()) : nullptr;
  return module("aten.linear", {x, weight, bias});
}

Value* layer_norm(const Module& module, Value* x, int64_t size, double eps) {
  Value* weight = module.parameter("weight", {size}, Init::ones());
  Value* bias = module.parameter("bias", {size}, Init::zeros());
  return module("aten.native_layer_norm", {x, weight, bias},
                {{"normalized_shape", Shape{size}}, {"eps", eps}});
}

Value* rms_norm(const Module& module, Value* x, int64_t size, double eps) {
  Value* weight = module.parameter("weight", {size}, Init::ones());
  const DType dtype = x->dtype();
  Value* wide = cast(module, x, DType::float32);
  Value* square = module("aten.pow.Tensor_Scalar", {wide}, {{"exponent", 2}});
  Value* mean = module("aten.mean.dim", {square}, {{"dim", Shape{-1}}, {"keepdim", true}});
  Value* shifted = module("aten.add.Scalar", {mean}, {{"other", eps}});
  Value* scale = module("aten.rsqrt", {shifted});
  Value* normed = module("aten.mul.Tensor", {wide, scale});
  return module("aten.mul.Tensor", {weight, cast(module, normed, dtype)});
}

Value* embedding_weight(const Module& module, const EmbeddingSpec& spec) {
  return module.parameter("weight", {spec.count, spec.size},
                          Init::normal(spec.deviation, spec.padding_row));
}

Value* embedding(const Module& module, Value* ids, const EmbeddingSpec& spec) {
  return module("aten.embedding", {embedding_weight(module, spec), ids});
}

namespace {

using Activation = Value* (*)(const Module&, Value*);

Value* gelu(const Module& module, Value* x) { return module("aten.gelu", {x}); }

// gelu_new, gelu_fast and gelu_accurate spell this formula out, with constants that agree with it
// to float32.
Value* gelu_tanh(const Module& module, Value* x) {
  return module("aten.gelu", {x}, {{"approximate", "tanh"}});
}

Value* clipped_gelu(const Module& module, Value* x) {
  return module("aten.clamp", {gelu(module, x)}, {{"min", -10.0}, {"max", 10.0}});
}

Value* quick_gelu(const Module& module, Value* x) {
  Value* scaled = module("aten.mul.Scalar", {x}, {{"other", 1.702}});
  return module("aten.mul.Tensor", {x, module("aten.sigmoid", {scaled})});
}

Value* silu(const Module& module, Value* x) { return module("aten.silu", {x}); }
Value* relu(const Module& module, Value* x) { return module("aten.relu", {x}); }
Value* tanh(const Module& module, Value* x) { return module("aten.tanh", {x}); }
Value* sigmoid(const Module& module, Value* x) { return module("aten.sigmoid", {x}); }
Value* identity(const Module&, Value* x) { return x; }

Value* relu_squared(const Module& module, Value* x) {
  return module("aten.pow.Tensor_Scalar", {relu(module, x)}, {{"exponent", 2}});
}

Value* relu6(const Module& module, Value* x) {
  return module("aten.clamp", {x}, {{"min", 0.0}, {"max", 6.0}});
}

constexpr std::pair<std::string_view, Activation> kActivations[] = {
    {"gelu", gelu},
    {"gelu_10", clipped_gelu},
    {"gelu_accurate", gelu_tanh},
    {"gelu_fast", gelu_tanh},
    {"gelu_new", gelu_tanh},
    {"gelu_python", gelu},
    {"gelu_python_tanh", gelu_tanh},
    {"gelu_pytorch_tanh", gelu_tanh},
    {"linear", identity},
    {"quick_gelu", quick_gelu},
    {"relu", relu},
    {"relu2", relu_squared},
    {"relu6", relu6},
    {"sigmoid", sigmoid},
    {"silu", silu},
    {"swish", silu},
    {"tanh", tanh},
};

Activation find_activation(std::string_view name) {
  for (const auto& [known, function] : kActivations) {
    if (known == name) return function;
  }
  return nullptr;
}

}  // namespace

bool has_activation(std::string_view name) { return find_activation(name) != nullptr; }

std::vector<std::string_view> activation_names() {
  std::vector<std::string_view> names;
  for (const auto& entry : kActivations) names.push_back(entry.first);
  return names;
}

Value* activation(const Module& module, std::string_view name, Value* x) {
  const Activation function = find_activation(name);
  if (function == nullptr) {
    fail(ErrorCode::internal, "import/modules", "Check the name with has_activation first.",
         "there is no activation '{}'", name);
  }
  return function(module, x);
}

Value* split_heads(const Module& module, Value* x, int64_t heads, int64_t size) {
  const Shape& shape = x->shape();
  Value* view = module("aten.view", {x}, {{"size", Shape{shape[0], shape[1], heads, size}}});
  return module("aten.permute", {view}, {{"dims", Shape{0, 2, 1, 3}}});
}

Value* merge_heads(const Module& module, Value* x) {
  Value* turned = module("aten.permute", {x}, {{"dims", Shape{0, 2, 1, 3}}});
  const Shape& shape = turned->shape();
  return module("aten.view", {turned}, {{"size", Shape{shape[0], shape[1], shape[2] * shape[3]}}});
}

Value* scaled_dot_product_attention(const Module& module, Value* query, Value* key, Value* value,
                                    Value* mask, bool causal) {
  const auto size = static_cast<double>(query->shape()[3].value());
  const bool grouped = !(query->shape()[1] == key->shape()[1]);
  return module("aten.scaled_dot_product_attention", {query, key, value, mask},
                {{"is_causal", causal}, {"scale", 1.0 / std::sqrt(size)}, {"enable_gqa", grouped}});
}

Value* arange(const Module& module, const Dim& end) {
  return module("aten.arange.start_step", {},
                {{"start", 0}, {"end", end}, {"step", 1}, {"dtype", DType::int64}});
}

Value* cast(const Module& module, Value* x, DType dtype) {
  return x->dtype() == dtype ? x : module("aten._to_copy", {x}, {{"dtype", dtype}});
}

}  // namespace ostinato::importer
