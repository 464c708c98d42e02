#include "ostinato/ir/graph.h"

#include <algorithm>
#include <unordered_map>

#include "ostinato/base/error.h"
#include "ostinato/base/memory.h"

namespace ostinato::ir {

namespace {

bool is_list(OperandKind kind) {
  return kind == OperandKind::list || kind == OperandKind::optional_list;
}

/// Where the row's operand `name` begins among the node's operands, and how many it has.
std::pair<size_t, size_t> operand_range(const Node& node, size_t spec_index) {
  const auto& specs = node.op->operands;
  const size_t list_length = node.operands.size() + 1 - specs.size();
  size_t begin = 0;
  for (size_t i = 0; i < spec_index; ++i) begin += is_list(specs[i].kind) ? list_length : 1;
  return {begin, is_list(specs[spec_index].kind) ? list_length : 1};
}

template <typename T>
const T& get(const Node& node, std::string_view name) {
  const Attribute& value = node.attribute(name);
  if (const T* held = std::get_if<T>(&value)) return *held;
  fail(ErrorCode::internal, fmt::format("ops/{}", node.op->name), "Report this as a defect.",
       "attribute '{}' is of another kind: {}", name, to_string(value));
}

/// A call without results could not be told from others, and computes nothing.
void check_results(const OpRow& op, const std::vector<ValueType>& types) {
  if (!types.empty()) return;
  fail(ErrorCode::invalid_argument, fmt::format("ops/{}", op.name), "Leave the call out.",
       "expected at least one result, got none");
}

/// Whatever a row's rule lets through, sizes are not negative, and strides in bytes fit in 64 bits,
/// of empty values too.
void check_sizes(const OpRow& op, const ValueType& type) {
  int64_t stride = static_cast<int64_t>(size_of(type.dtype));
  for (const Dim& dim : type.shape) {
    if (!dim.is_constant()) continue;
    if (dim.value() > 0 && __builtin_mul_overflow(stride, dim.value(), &stride)) {
      fail(ErrorCode::invalid_argument, fmt::format("ops/{}", op.name), "Check the shapes.",
           "expected sizes whose product fits in 64 bits, got {}", to_string(type.shape));
    }
    if (dim.value() >= 0) continue;
    fail(ErrorCode::invalid_argument, fmt::format("ops/{}", op.name), "Check the shapes.",
         "expected sizes of at least zero, got {}", to_string(type.shape));
  }
  numel(type.shape);  // throws when it does not fit
}

}  // namespace

size_t bytes_of(const Value& value) {
  constexpr size_t kMost = size_t{1} << 40;
  size_t bytes = size_of(value.dtype());
  bool is_empty = false;
  for (const Dim& dim : value.shape()) {
    const auto size = static_cast<size_t>(dim.value());
    is_empty |= size == 0;
    if (size == 0 || !__builtin_mul_overflow(bytes, size, &bytes)) continue;
    bytes = kMost + 1;
    break;
  }
  if (bytes > kMost) {
    fail(ErrorCode::out_of_memory, "ir/value", "Use a smaller batch, shape or sequence.",
         "expected at most {} in a value, got {}{} {} {}", human_bytes(kMost),
         name_of(value.dtype()), to_string(value.shape()),
         value.producer != nullptr ? "from" : "for",
         value.producer != nullptr ? std::string(value.producer->op->name) : quote(value.name));
  }
  return is_empty ? 0 : bytes;
}

void check_operands(const OpRow& op, std::span<Value* const> operands) {
  const auto stage = [&op] { return fmt::format("ops/{}", op.name); };
  const bool has_list = std::any_of(op.operands.begin(), op.operands.end(),
                                    [](const OperandSpec& spec) { return is_list(spec.kind); });
  const size_t fixed = op.operands.size() - (has_list ? 1 : 0);
  if (has_list ? operands.size() < fixed : operands.size() != fixed) {
    fail(ErrorCode::invalid_argument, stage(), "Give None for an optional operand.",
         "expected {}{} operands, got {}", has_list ? "at least " : "", fixed, operands.size());
  }
  const size_t list_length = operands.size() - fixed;
  size_t i = 0;
  for (const OperandSpec& spec : op.operands) {
    const size_t count = is_list(spec.kind) ? list_length : 1;
    const bool needed = spec.kind == OperandKind::tensor || spec.kind == OperandKind::list;
    for (size_t k = 0; k < count; ++k, ++i) {
      if (needed && operands[i] == nullptr) {
        fail(ErrorCode::invalid_argument, stage(), "Give a tensor.",
             "expected a tensor for '{}', got None", spec.name);
      }
    }
  }
}

void check_attributes(const OpRow& op, std::span<const Attribute> attributes) {
  const std::string_view hint = "Give what the operator's schema has.";
  if (attributes.size() != op.attributes.size()) {
    fail(ErrorCode::invalid_argument, fmt::format("ops/{}", op.name), hint,
         "expected {} attributes, got {}", op.attributes.size(), attributes.size());
  }
  for (size_t i = 0; i < attributes.size(); ++i) {
    const AttrSpec& spec = op.attributes[i];
    const std::optional<Attribute> normal = normalise(spec.kind, attributes[i]);
    const bool fits = normal && normal->index() == attributes[i].index();
    // None is a value only of attributes that have it as their default.
    const bool is_none = attributes[i] == Attribute{};
    if (fits && (!is_none || (spec.fallback && *spec.fallback == Attribute{}))) continue;
    fail(ErrorCode::invalid_argument, fmt::format("ops/{}", op.name), hint,
         "expected '{}' to be of kind {}, got {}", spec.name, name_of(spec.kind),
         to_string(attributes[i]));
  }
}

const Attribute& Node::attribute(std::string_view wanted) const {
  for (size_t i = 0; i < op->attributes.size(); ++i) {
    if (op->attributes[i].name == wanted) return attributes[i];
  }
  fail(ErrorCode::internal, fmt::format("ops/{}", op->name), "Report this as a defect.",
       "there is no attribute '{}'", wanted);
}

bool Node::has(std::string_view wanted) const {
  return !std::holds_alternative<std::monostate>(attribute(wanted));
}
bool Node::flag(std::string_view wanted) const { return get<bool>(*this, wanted); }
int64_t Node::integer(std::string_view wanted) const { return dim(wanted).value(); }
const Dim& Node::dim(std::string_view wanted) const { return get<Dim>(*this, wanted); }
const std::string& Node::string(std::string_view wanted) const {
  return get<std::string>(*this, wanted);
}
DType Node::dtype(std::string_view wanted) const { return get<DType>(*this, wanted); }
const Shape& Node::dims(std::string_view wanted) const { return get<Shape>(*this, wanted); }
std::vector<int64_t> Node::integers(std::string_view wanted) const {
  return to_integers(dims(wanted));
}

double Node::real(std::string_view wanted) const {
  const Attribute& value = attribute(wanted);
  const bool is_real = !std::holds_alternative<Dim>(value) && !std::holds_alternative<bool>(value);
  return is_real ? get<double>(*this, wanted) : number_of<double>(value);
}

Value* Node::overwritten(size_t result) const {
  const std::vector<size_t>& mutates = op->traits.mutates;
  return result < mutates.size() ? operands.at(mutates[result]) : nullptr;
}

Value* Node::in_place_operand(size_t result) const {
  const std::vector<InPlace>& pairs = op->traits.in_place;
  const auto found = std::find_if(pairs.begin(), pairs.end(),
                                  [&](const InPlace& pair) { return pair.result == result; });
  return found == pairs.end() ? nullptr : operands.at(found->operand);
}

Value* Node::operand(std::string_view wanted) const {
  for (size_t i = 0; i < op->operands.size(); ++i) {
    if (op->operands[i].name == wanted) return operands[operand_range(*this, i).first];
  }
  fail(ErrorCode::internal, fmt::format("ops/{}", op->name), "Report this as a defect.",
       "there is no operand '{}'", wanted);
}

std::span<Value* const> Node::list() const {
  for (size_t i = 0; i < op->operands.size(); ++i) {
    if (!is_list(op->operands[i].kind)) continue;
    const auto [begin, count] = operand_range(*this, i);
    return {operands.data() + begin, count};
  }
  fail(ErrorCode::internal, fmt::format("ops/{}", op->name), "Report this as a defect.",
       "there is no list of operands");
}

Value* Graph::add_value(ValueKind kind, std::string value_name, ValueType type) {
  auto value = std::make_unique<Value>();
  value->id = static_cast<int>(values_.size());
  value->name = std::move(value_name);
  value->kind = kind;
  value->type = std::move(type);
  values_.push_back(std::move(value));
  return values_.back().get();
}

Value* Graph::add_input(std::string value_name, ValueType type) {
  inputs_.push_back(add_value(ValueKind::input, std::move(value_name), std::move(type)));
  return inputs_.back();
}

Value* Graph::add_constant(std::string value_name, ValueType type, Tensor data) {
  constants_.push_back(add_value(ValueKind::constant, std::move(value_name), std::move(type)));
  constants_.back()->data = std::move(data);
  return constants_.back();
}

Value* Graph::add_state(std::string value_name, ValueType type) {
  states_.push_back(add_value(ValueKind::state, std::move(value_name), std::move(type)));
  return states_.back();
}

void Graph::renumber(const std::vector<int>& ids) {
  std::vector<std::unique_ptr<Value>> moved;
  for (auto& value : values_) {
    if (value == nullptr) continue;
    value->id = ids.at(static_cast<size_t>(value->id));
    const auto slot = static_cast<size_t>(value->id);
    if (slot >= moved.size()) moved.resize(slot + 1);
    if (moved[slot] != nullptr) {
      fail(ErrorCode::internal, "ir/graph", "Report this as a defect.", "two values are %{}", slot);
    }
    moved[slot] = std::move(value);
  }
  values_ = std::move(moved);
}

void Graph::add_output(std::string output_name, Value* value) {
  outputs_.push_back({std::move(output_name), value});
  ++value->output_uses;
}

void Graph::set_output(size_t index, Value* value) {
  Output& output = outputs_.at(index);
  --output.value->output_uses;
  output.value = value;
  ++value->output_uses;
}

Node* Graph::add_node(const OpRow& op, std::vector<Value*> operands,
                      const std::vector<NamedAttribute>& attributes, const Node* before) {
  std::vector<Attribute> values;
  values.reserve(op.attributes.size());
  for (const AttrSpec& spec : op.attributes) {
    const auto given = std::find_if(attributes.begin(), attributes.end(),
                                    [&](const auto& a) { return a.name == spec.name; });
    if (given == attributes.end() && !spec.fallback) {
      fail(ErrorCode::invalid_argument, fmt::format("ops/{}", op.name),
           "Give it: it has no default.", "expected the attribute '{}', got none", spec.name);
    }
    values.push_back(given == attributes.end() ? *spec.fallback : given->value);
  }
  for (const NamedAttribute& given : attributes) {
    std::vector<std::string_view> names;
    for (const AttrSpec& spec : op.attributes) names.push_back(spec.name);
    if (std::find(names.begin(), names.end(), given.name) == names.end()) {
      fail(ErrorCode::invalid_argument, fmt::format("ops/{}", op.name),
           fmt::format("Its attributes are: {}.", fmt::join(names, ", ")),
           "there is no attribute '{}'", given.name);
    }
  }
  while (operands.size() < op.operands.size() &&
         op.operands[operands.size()].kind == OperandKind::optional) {
    operands.push_back(nullptr);
  }
  return insert_node(before, op, std::move(operands), std::move(values));
}

Node* Graph::insert_node(const Node* before, const OpRow& op, std::vector<Value*> operands,
                         std::vector<Attribute> attributes) {
  check_operands(op, operands);
  auto owned = std::make_unique<Node>();
  Node* node = owned.get();
  node->op = &op;
  node->operands = std::move(operands);
  node->attributes = std::move(attributes);
  for (size_t i = 0; i < std::min(node->attributes.size(), op.attributes.size()); ++i) {
    auto normal = normalise(op.attributes[i].kind, node->attributes[i]);
    if (normal) node->attributes[i] = std::move(*normal);
  }
  check_attributes(op, node->attributes);
  std::vector<ValueType> types = op.infer(*node);  // may throw: nothing is linked yet
  check_results(op, types);
  for (const ValueType& type : types) check_sizes(op, type);
  const auto where = before == nullptr ? nodes_.end() : before->position;
  node->position = nodes_.insert(where, std::move(owned));
  for (size_t i = 0; i < node->operands.size(); ++i) {
    if (node->operands[i] != nullptr) node->operands[i]->uses.push_back({node, i});
  }
  for (size_t i = 0; i < types.size(); ++i) {
    Value* result = add_value(ValueKind::result, "", std::move(types[i]));
    result->producer = node;
    result->index = static_cast<int>(i);
    node->results.push_back(result);
  }
  return node;
}

void Graph::set_operand(Node* node, size_t index, Value* value) {
  Value* old_value = node->operands[index];
  if (old_value == value) return;
  if (old_value != nullptr) {
    // From the end: whoever takes a graph apart does it from there.
    auto& uses = old_value->uses;
    const auto found = std::find_if(uses.rbegin(), uses.rend(), [&](const Value::Use& use) {
      return use.node == node && use.operand == index;
    });
    if (found != uses.rend()) uses.erase(std::next(found).base());
  }
  node->operands[index] = value;
  if (value != nullptr) value->uses.push_back({node, index});
}

void Graph::replace_all_uses(Value* old_value, Value* new_value) {
  if (old_value == new_value) return;
  for (const Value::Use& use : old_value->uses) {
    use.node->operands[use.operand] = new_value;
    new_value->uses.push_back(use);
  }
  old_value->uses.clear();
  if (!is_output(old_value)) return;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    if (outputs_[i].value == old_value) set_output(i, new_value);
  }
}

void Graph::erase(Node* node) {
  for (Value* result : node->results) {
    if (is_used(result)) {
      fail(ErrorCode::internal, "ir/graph", "Report this as a defect.",
           "cannot erase a {} whose result %{} is used", node->op->name, result->id);
    }
  }
  for (size_t i = 0; i < node->operands.size(); ++i) set_operand(node, i, nullptr);
  for (Value* result : node->results) values_[static_cast<size_t>(result->id)].reset();
  nodes_.erase(node->position);
}

void Graph::erase_constant(Value* constant) {
  if (is_used(constant)) {
    fail(ErrorCode::internal, "ir/graph", "Report this as a defect.",
         "cannot erase the constant %{}: it is used", constant->id);
  }
  std::erase(constants_, constant);
  values_[static_cast<size_t>(constant->id)].reset();
}

size_t Graph::erase_unused_constants() {
  return std::erase_if(constants_, [this](Value* constant) {
    if (is_used(constant)) return false;
    values_[static_cast<size_t>(constant->id)].reset();
    return true;
  });
}

std::vector<std::string> Graph::symbols() const {
  std::vector<std::string> names;
  const auto collect = [&names](const Shape& shape) {
    for (const Dim& dim : shape) dim.collect_symbols(names);
  };
  for (const auto* values : {&inputs_, &states_}) {
    for (const Value* value : *values) collect(value->shape());
  }
  for (const auto& node : nodes_) {
    for (const Attribute& attribute : node->attributes) {
      if (const Dim* dim = std::get_if<Dim>(&attribute)) dim->collect_symbols(names);
      if (const Shape* shape = std::get_if<Shape>(&attribute)) collect(*shape);
    }
  }
  return names;
}

namespace {

Shape substitute(const Shape& shape, const Bindings& bindings) {
  Shape result;
  result.reserve(shape.size());
  for (const Dim& dim : shape) result.push_back(dim.substitute(bindings));
  return result;
}

}  // namespace

Graph Graph::specialise(const Bindings& bindings) const {
  Graph copy;
  copy.name = name;
  copy.values_.resize(values_.size());
  const auto mirror = [&copy](const Value* value) {
    return value == nullptr ? nullptr : copy.values_[static_cast<size_t>(value->id)].get();
  };
  const auto clone = [&copy](const Value* value, ValueType type) {
    auto owned = std::make_unique<Value>();
    owned->id = value->id;
    owned->name = value->name;
    owned->kind = value->kind;
    owned->type = std::move(type);
    owned->data = value->data;
    owned->on_device = value->on_device;
    owned->index = value->index;
    owned->uses.reserve(value->uses.size());
    auto& slot = copy.values_[static_cast<size_t>(value->id)];
    slot = std::move(owned);
    return slot.get();
  };
  const auto clone_all = [&](const std::vector<Value*>& from, std::vector<Value*>& to) {
    for (const Value* value : from) {
      to.push_back(clone(value, {value->dtype(), substitute(value->shape(), bindings)}));
    }
  };
  clone_all(inputs_, copy.inputs_);
  clone_all(constants_, copy.constants_);
  clone_all(states_, copy.states_);
  for (const auto& node : nodes_) {
    auto owned = std::make_unique<Node>();
    Node* twin = owned.get();
    twin->op = node->op;
    twin->source = node->source;
    twin->attributes.reserve(node->attributes.size());
    for (const Attribute& attribute : node->attributes) {
      if (const Dim* dim = std::get_if<Dim>(&attribute)) {
        twin->attributes.emplace_back(dim->substitute(bindings));
      } else if (const Shape* shape = std::get_if<Shape>(&attribute)) {
        twin->attributes.emplace_back(substitute(*shape, bindings));
      } else {
        twin->attributes.push_back(attribute);
      }
    }
    twin->operands.reserve(node->operands.size());
    for (const Value* operand : node->operands) {
      twin->operands.push_back(mirror(operand));
      if (operand != nullptr) {
        twin->operands.back()->uses.push_back({twin, twin->operands.size() - 1});
      }
    }
    std::vector<ValueType> types = twin->op->infer(*twin);
    twin->results.reserve(types.size());
    for (size_t i = 0; i < types.size(); ++i) {
      twin->results.push_back(clone(node->results[i], std::move(types[i])));
      twin->results.back()->producer = twin;
    }
    copy.nodes_.push_back(std::move(owned));
    twin->position = std::prev(copy.nodes_.end());
  }
  for (const Output& output : outputs_) copy.add_output(output.name, mirror(output.value));
  return copy;
}

Bindings bind_inputs(const Graph& graph, std::span<const std::vector<int64_t>> shapes) {
  constexpr std::string_view kStage = "ir/bind";
  if (shapes.size() != graph.inputs().size()) {
    fail(ErrorCode::invalid_argument, kStage, "Give every input once.",
         "expected {} inputs, got {}", graph.inputs().size(), shapes.size());
  }
  const auto mismatch = [&](const Value* input, const std::vector<int64_t>& got) {
    fail(ErrorCode::invalid_argument, kStage, "Give the input that shape.",
         "expected shape {} for input '{}', got ({})", to_string(input->shape()), input->name,
         fmt::join(got, ", "));
  };
  // Bare symbols first: they give what the expressions are checked against.
  Bindings bindings;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Value* input = graph.inputs()[i];
    if (shapes[i].size() != input->rank()) mismatch(input, shapes[i]);
    for (size_t d = 0; d < shapes[i].size(); ++d) {
      std::vector<std::string> names;
      input->shape()[d].collect_symbols(names);
      if (names.size() == 1 && input->shape()[d] == Dim::symbol(names[0])) {
        if (shapes[i][d] < input->shape()[d].lower_bound().value_or(0)) mismatch(input, shapes[i]);
        bindings.emplace(names[0], shapes[i][d]);
      }
    }
  }
  for (size_t i = 0; i < shapes.size(); ++i) {
    const Value* input = graph.inputs()[i];
    for (size_t d = 0; d < shapes[i].size(); ++d) {
      if (input->shape()[d].evaluate(bindings) != shapes[i][d]) mismatch(input, shapes[i]);
    }
  }
  return bindings;
}

}  // namespace ostinato::ir
