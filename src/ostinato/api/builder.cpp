#include "ostinato/ir/builder.h"

#include <atomic>

#include "ostinato/api/access.h"
#include "ostinato/base/error.h"
#include "ostinato/ir/verifier.h"
#include "ostinato/ops/ops.h"

namespace ostinato {

namespace {

constexpr std::string_view kStage = "api/builder";

void refuse_second(std::string_view kind, std::string_view name, bool taken) {
  if (!taken) return;
  fail(ErrorCode::invalid_argument, kStage, "Give each a name of its own.",
       "there is a second {} '{}'", kind, name);
}

bool has_name(const std::vector<ir::Value*>& values, std::string_view name) {
  return std::any_of(values.begin(), values.end(),
                     [name](const ir::Value* value) { return value->name == name; });
}

ir::ValueType checked_type(DType dtype, const std::vector<Size>& sizes) {
  ir::ValueType type{dtype, to_shape(sizes)};
  for (const ir::Dim& dim : type.shape) {
    if (!dim.is_constant() || dim.value() >= 0) continue;
    fail(ErrorCode::invalid_argument, kStage, "Check the shape.",
         "expected sizes of at least zero, got {}", to_string(type.shape));
  }
  numel(type.shape);  // throws when it does not fit
  return type;
}

struct ToAttribute {
  ir::Attribute operator()(std::nullptr_t) const { return std::monostate(); }
  ir::Attribute operator()(const Size& size) const { return to_dim(size); }
  ir::Attribute operator()(const std::vector<Size>& sizes) const { return to_shape(sizes); }
  template <typename T>
  ir::Attribute operator()(const T& value) const {
    return value;
  }
};

}  // namespace

struct GraphBuilder::Impl {
  explicit Impl(std::string name) { graph.name = std::move(name); }

  Value wrap(ir::Value* value) {
    Value handle;
    handle.builder_ = number;
    handle.id_ = static_cast<int>(values.size());
    handle.dtype_ = value->dtype();
    handle.shape_ = to_sizes(value->shape());
    values.push_back(value);
    return handle;
  }

  ir::Value* unwrap(const Value& handle) const {
    if (handle.builder_ == number) return values[static_cast<size_t>(handle.id_)];
    fail(ErrorCode::invalid_argument, kStage, "Use values of the builder that made them.",
         "expected a value of this builder, got {}", handle.is_none() ? "None" : "another's");
  }

  ir::Node* call(std::string_view op, const std::vector<Value>& operands,
                 const std::vector<Attribute>& attributes) {
    std::vector<ir::Value*> unwrapped;
    for (const Value& operand : operands) {
      unwrapped.push_back(operand.is_none() ? nullptr : unwrap(operand));
    }
    std::vector<ir::NamedAttribute> named;
    for (const Attribute& attribute : attributes) {
      named.emplace_back(attribute.name, std::visit(ToAttribute(), attribute.value));
    }
    return ir::Builder(graph, ops::table()).call(op, std::move(unwrapped), named);
  }

  static uint64_t next_number() {
    static std::atomic<uint64_t> last = 0;
    return ++last;
  }

  ir::Graph graph;
  const uint64_t number = next_number();
  std::vector<ir::Value*> values;  // by the handles' ids
};

GraphBuilder::GraphBuilder(std::string name) : impl_(std::make_unique<Impl>(std::move(name))) {}
GraphBuilder::~GraphBuilder() = default;
GraphBuilder::GraphBuilder(GraphBuilder&&) noexcept = default;
GraphBuilder& GraphBuilder::operator=(GraphBuilder&&) noexcept = default;

GraphBuilder::Impl& GraphBuilder::impl() {
  if (impl_ != nullptr) return *impl_;
  fail(ErrorCode::invalid_argument, kStage, "Make a new builder.",
       "expected a builder, got one that has built its graph or was moved from");
}

Value GraphBuilder::input(std::string name, DType dtype, const std::vector<Size>& shape) {
  ir::Graph& graph = impl().graph;
  refuse_second("input", name, has_name(graph.inputs(), name));
  return impl_->wrap(graph.add_input(std::move(name), checked_type(dtype, shape)));
}

Value GraphBuilder::state(std::string name, DType dtype, const std::vector<Size>& shape) {
  ir::Graph& graph = impl().graph;
  refuse_second("state", name, has_name(graph.states(), name));
  return impl_->wrap(graph.add_state(std::move(name), checked_type(dtype, shape)));
}

Value GraphBuilder::constant(Tensor data, std::string name) {
  ir::Graph& graph = impl().graph;
  refuse_second("constant", name, !name.empty() && has_name(graph.constants(), name));
  if (!data.defined()) {
    fail(ErrorCode::invalid_argument, kStage, "Give a tensor that has storage.",
         "expected elements for the constant '{}', got an undefined tensor", name);
  }
  return impl_->wrap(ir::Builder(graph, ops::table()).constant(std::move(data), std::move(name)));
}

Value GraphBuilder::call(std::string_view op, const std::vector<Value>& operands,
                         const std::vector<Attribute>& attributes) {
  return impl().wrap(impl_->call(op, operands, attributes)->results.at(0));
}

std::vector<Value> GraphBuilder::call_all(std::string_view op, const std::vector<Value>& operands,
                                          const std::vector<Attribute>& attributes) {
  std::vector<Value> results;
  for (ir::Value* result : impl().call(op, operands, attributes)->results) {
    results.push_back(impl_->wrap(result));
  }
  return results;
}

void GraphBuilder::output(std::string name, const Value& value) {
  ir::Graph& graph = impl().graph;
  const auto& outputs = graph.outputs();
  refuse_second("output", name,
                std::any_of(outputs.begin(), outputs.end(),
                            [&](const ir::Output& output) { return output.name == name; }));
  graph.add_output(std::move(name), impl_->unwrap(value));
}

Graph GraphBuilder::build() {
  try {
    ir::verify(impl().graph);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::internal) throw;
    // Each call has been checked; what the whole of them can break are the rules of states.
    fail(ErrorCode::invalid_argument, kStage,
         "Overwrite states only, and read one through the result of the call that overwrote it.",
         "expected a sound graph, got {}", error.message());
  }
  const std::unique_ptr<Impl> spent = std::move(impl_);
  return Access::wrap(std::move(spent->graph));
}

}  // namespace ostinato
