#include "support/random_graph.h"

#include <algorithm>
#include <map>

#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "support/random.h"

namespace ostinato {

namespace {

using ir::Attribute;
using ir::AttrKind;
using ir::Dim;
using ir::Graph;
using ir::Node;
using ir::OperandKind;
using ir::OpRow;
using ir::Shape;
using ir::Value;
using ir::ValueType;

ValueType substitute(ValueType type, const ir::Bindings& bindings) {
  for (Dim& dim : type.shape) dim = dim.substitute(bindings);
  return type;
}

/// Whether a call that is right for symbols is right for the sizes that they will be given: a view
/// of s0 elements as 8 is for one size only.
bool holds(const Node& node) {
  for (const ir::Bindings& bindings : random_bindings()) {
    Node twin;
    twin.op = node.op;
    std::list<Value> values;
    const auto clone = [&](const Value* value) -> Value* {
      if (value == nullptr) return nullptr;
      values.push_back({});
      values.back().type = substitute(value->type, bindings);
      return &values.back();
    };
    for (const Value* operand : node.operands) twin.operands.push_back(clone(operand));
    for (const Attribute& attribute : node.attributes) {
      twin.attributes.push_back(attribute);
      if (auto* dim = std::get_if<Dim>(&twin.attributes.back())) *dim = dim->substitute(bindings);
      if (auto* dims = std::get_if<Shape>(&twin.attributes.back())) {
        for (Dim& dim : *dims) dim = dim.substitute(bindings);
      }
    }
    try {
      const std::vector<ValueType> types = node.op->infer(twin);
      for (size_t i = 0; i < types.size(); ++i) {
        if (types[i] != substitute(node.results[i]->type, bindings)) return false;
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::invalid_argument) throw;
      return false;
    }
  }
  return true;
}

class Generator {
 public:
  Generator(const ir::OpTable& table, uint32_t seed, const RandomGraphOptions& options)
      : random_(seed), options_(options), builder_(graph_, table) {
    for (const OpRow* row : table.rows()) {
      if (!options_.use || options_.use(*row)) rows_.push_back(row);
    }
  }

  Graph run() {
    graph_.name = "random";
    const int64_t leaves = random_(2, 4);
    for (int64_t i = 0; i < leaves; ++i) new_leaf({random_dtype(), random_shape()});
    for (size_t tries = 0; graph_.nodes().size() < options_.nodes && tries < 400 * options_.nodes;
         ++tries) {
      call(*random_.pick(rows_));
    }
    add_outputs();
    return std::move(graph_);
  }

 private:
  DType random_dtype() {
    static const std::vector<DType> kDTypes = {
        DType::float32, DType::float32, DType::float32, DType::float32, DType::bfloat16,
        DType::float16, DType::int64,   DType::int32,   DType::uint8,   DType::boolean};
    return random_.pick(kDTypes);
  }

  Dim random_size() {
    if (options_.symbolic && random_.chance(40)) {
      return Dim::symbol(random_.chance(50) ? "s0" : "s1");
    }
    return random_.chance(5) ? 0 : random_(1, 4);
  }

  Shape random_shape() {
    Shape shape(static_cast<size_t>(random_(0, 4)));
    for (Dim& dim : shape) dim = random_size();
    return shape;
  }

  int64_t elements(const Shape& shape) const { return numel(shape).evaluate(random_bindings()[0]); }

  bool fits(const ValueType& type) const {
    try {
      return elements(type.shape) <= options_.elements;
    } catch (const Error&) {
      return false;
    }
  }

  Value* new_leaf(ValueType type) {
    const bool concrete = std::all_of(type.shape.begin(), type.shape.end(),
                                      [](const Dim& dim) { return dim.is_constant(); });
    Value* leaf;
    if (concrete && random_.chance(40)) {
      Tensor data = random_tensor(random_, type.dtype, to_integers(type.shape));
      const bool named = random_.chance(50);
      leaf = builder_.constant(std::move(data),
                               named ? fmt::format("weight.{}", graph_.value_count()) : "");
    } else {
      leaf = graph_.add_input(fmt::format("input.{}", graph_.value_count()), std::move(type));
    }
    values_.push_back(leaf);
    return leaf;
  }

  /// A value of that type, made if there is none.
  Value* of_type(const ValueType& type) {
    std::vector<Value*> fitting;
    for (Value* value : values_) {
      if (value->type == type) fitting.push_back(value);
    }
    return fitting.empty() || random_.chance(20) ? new_leaf(type) : random_.pick(fitting);
  }

  /// A value of any shape with so many dims, of a dtype that most rows take.
  Value* of_rank(size_t rank) {
    std::vector<Value*> fitting;
    for (Value* value : values_) {
      if (value->rank() == rank && is_floating(value->dtype())) fitting.push_back(value);
    }
    if (!fitting.empty() && random_.chance(80)) return random_.pick(fitting);
    ValueType type{DType::float32, Shape(rank)};
    for (Dim& dim : type.shape) dim = random_size();
    return fits(type) ? new_leaf(type) : nullptr;
  }

  void call(const OpRow& row) {
    std::vector<Value*> operands;
    made_.clear();
    if (!made_operands(row, operands) && !made_image_operands(row, operands)) {
      operands = drawn_operands(row);
    }
    std::vector<Attribute> attributes;
    for (const ir::AttrSpec& spec : row.attributes) {
      if (const auto made = made_.find(spec.name); made != made_.end()) {
        attributes.push_back(made->second);
        continue;
      }
      const bool fall_back = spec.fallback && random_.chance(60);
      attributes.push_back(fall_back ? *spec.fallback : attribute(spec, operands));
    }
    if (std::find(operands.begin(), operands.end(), nullptr) != operands.end() &&
        row.operands.front().kind == OperandKind::tensor && operands.front() == nullptr) {
      return;
    }
    Node* node = nullptr;
    try {
      node = graph_.insert_node(nullptr, row, operands, std::move(attributes));
    } catch (const Error& error) {
      // What does not fit is drawn again; a rule that fails in any other way is a defect.
      if (error.code() == ErrorCode::invalid_argument) return;
      throw;
    }
    const bool small = std::all_of(node->results.begin(), node->results.end(),
                                   [this](const Value* value) { return fits(value->type); });
    if (!small || !holds(*node)) {
      graph_.erase(node);
      return;
    }
    if (random_.chance(30)) node->source = fmt::format("model.layer \"{}\"", random_(0, 9));
    for (const size_t state : row.traits.mutates) forget_state(node->operands[state]);
    values_.insert(values_.end(), node->results.begin(), node->results.end());
    if (row.traits.view) {
      for (Value* result : node->results) views_.emplace(result, node->operands[0]);
    }
  }

  Value* new_state(Shape shape) {
    values_.push_back(graph_.add_state(fmt::format("state.{}", graph_.value_count()),
                                       {DType::float32, std::move(shape)}));
    return values_.back();
  }

  /// After an overwrite nothing may read the state as it was, nor a view of it.
  void forget_state(const Value* old_value) {
    std::erase_if(values_, [&](const Value* value) {
      while (value != old_value && views_.contains(value)) value = views_.at(value);
      return value == old_value;
    });
  }

  /// Operands for the rows that are hardly ever hit by chance; false for all others.
  bool made_operands(const OpRow& row, std::vector<Value*>& operands);
  bool made_image_operands(const OpRow& row, std::vector<Value*>& operands);

  std::vector<Value*> drawn_operands(const OpRow& row) {
    std::vector<Value*> operands;
    const auto draw = [&](OperandKind kind) -> Value* {
      const bool optional = kind == OperandKind::optional || kind == OperandKind::optional_list;
      if (optional && random_.chance(50)) return nullptr;
      if (!operands.empty() && operands[0] != nullptr && random_.chance(50)) {
        return of_type(operands[0]->type);
      }
      return random_.chance(10) ? new_leaf({random_dtype(), random_shape()})
                                : random_.pick(values_);
    };
    for (const ir::OperandSpec& spec : row.operands) {
      const bool list = spec.kind == OperandKind::list || spec.kind == OperandKind::optional_list;
      const int64_t count = list ? random_(1, 3) : 1;
      for (int64_t i = 0; i < count; ++i) operands.push_back(draw(spec.kind));
    }
    return operands;
  }

  Attribute attribute(const ir::AttrSpec& spec, const std::vector<Value*>& operands) {
    static const std::vector<double> kReals = {0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-5};
    static const std::vector<std::string> kWords = {
        "none", "tanh", "floor", "trunc", "gelu", "relu", "silu", "sum", "gelu_tanh", "quick_gelu"};
    const Value* first = operands.empty() ? nullptr : operands[0];
    const int64_t rank = first == nullptr ? 2 : static_cast<int64_t>(first->rank());
    switch (spec.kind) {
      case AttrKind::boolean: return random_.chance(50);
      case AttrKind::integer: return Dim(random_(-rank - 1, std::max<int64_t>(rank, 2)));
      case AttrKind::real: return random_.pick(kReals);
      case AttrKind::scalar:
        if (random_.chance(50)) return random_.pick(kReals);
        return random_.chance(20) ? Attribute(random_.chance(50)) : Attribute(Dim(random_(-2, 2)));
      case AttrKind::string: return random_.pick(kWords);
      case AttrKind::dtype: return random_dtype();
      case AttrKind::integers: return integers(first, rank);
    }
    return {};
  }

  /// Sizes to view or expand to, dims to permute or to sum over, or any small integers.
  Shape integers(const Value* first, int64_t rank) {
    Shape result;
    switch (random_(0, 4)) {
      case 0:
        for (int64_t i = 0; i < rank; ++i) result.emplace_back(i);
        for (size_t i = result.size(); i > 1; --i) {
          std::swap(result[i - 1], result[static_cast<size_t>(random_(0, int64_t(i) - 1))]);
        }
        break;
      case 1:
        if (first != nullptr) result = first->shape();
        if (random_.chance(50)) result.insert(result.begin(), random_size());
        for (Dim& dim : result) {
          if (dim.is(1) && random_.chance(50)) dim = random_size();
        }
        break;
      case 2:  // two neighbouring dims become one, or one of size one more
        if (first != nullptr) result = first->shape();
        if (result.size() > 1 && random_.chance(70)) {
          const auto at = random_(0, int64_t(result.size()) - 2);
          result[size_t(at)] = result[size_t(at)] * result[size_t(at) + 1];
          result.erase(result.begin() + at + 1);
        } else {
          result.insert(result.begin() + random_(0, int64_t(result.size())), Dim(1));
        }
        break;
      case 3:
        for (int64_t i = random_(0, rank); i > 0; --i) result.emplace_back(random_(-rank, rank));
        break;
      default:
        for (int64_t i = random_(0, 4); i > 0; --i) result.push_back(random_size());
    }
    return result;
  }

  void add_outputs() {
    // Whatever nobody reads, and something that is read.
    size_t count = 0;
    for (Value* value : values_) {
      if (value->producer == nullptr || (graph_.is_used(value) && !random_.chance(10))) continue;
      graph_.add_output(fmt::format("output.{}", count++), value);
    }
    if (count == 0) graph_.add_output("output", values_.back());
  }

  Random random_;
  const RandomGraphOptions& options_;
  Graph graph_;
  ir::Builder builder_;
  std::vector<const OpRow*> rows_;
  std::map<std::string_view, Attribute> made_;  // attributes that go with made operands
  std::vector<Value*> values_;                  // that a new call may read
  std::map<const Value*, const Value*> views_;  // of what
};

bool Generator::made_operands(const OpRow& row, std::vector<Value*>& operands) {
  const std::string_view name = row.name;
  const auto optional = [&](ValueType type) {
    return random_.chance(60) ? of_type(type) : nullptr;
  };
  const auto position = [&] { return of_type({DType::int64, {}}); };
  if (name == "aten.mm" || name == "aten.bmm" || name == "aten.matmul") {
    Value* self = of_rank(name == "aten.bmm" ? 3 : 2);
    if (self == nullptr) return false;
    Shape other = self->shape();
    other[other.size() - 2] = other.back();
    other.back() = random_size();
    operands = {self, of_type({self->dtype(), other})};
  } else if (name == "aten.addmm") {
    Value* first = of_rank(2);
    if (first == nullptr) return false;
    const Dim columns = random_(1, 4);
    operands = {of_type({first->dtype(), {columns}}), first,
                of_type({first->dtype(), {first->shape()[1], columns}})};
  } else if (name == "aten.linear" || name == "linear") {
    Value* input = of_rank(static_cast<size_t>(random_(2, 3)));
    if (input == nullptr) return false;
    const Dim columns = random_(1, 4);
    Shape result = input->shape();
    operands = {input, of_type({input->dtype(), {columns, result.back()}}),
                optional({input->dtype(), {columns}})};
    result.back() = columns;
    if (name == "linear") operands.push_back(optional({input->dtype(), result}));
  } else if (name == "layer_norm" || name == "rms_norm" || name == "add_rms_norm" ||
             name == "add_layer_norm") {
    Value* self = of_rank(static_cast<size_t>(random_(1, 3)));
    if (self == nullptr) return false;
    const ValueType weight{self->dtype(), {self->shape().back()}};
    operands = {self};
    if (name.starts_with("add_")) operands.push_back(of_type(self->type));
    operands.push_back(optional(weight));
    if (name.ends_with("layer_norm")) operands.push_back(optional(weight));
  } else if (name == "aten.embedding" || name == "aten.index_select") {
    const ValueType indices{DType::int64, {random_size()}};
    operands = {of_type({DType::float32, {random_(2, 4), random_(1, 4)}}), of_type(indices)};
  } else if (name == "attention" || name == "aten.scaled_dot_product_attention") {
    const Dim batch = random_size(), head = random_(1, 4), queries = random_size();
    const Dim keys = random_size();
    const Shape key{batch, Dim(2), keys, head};
    operands = {of_type({DType::float32, {batch, Dim(2), queries, head}}),
                of_type({DType::float32, key}), of_type({DType::float32, key}),
                optional({DType::boolean, {queries, keys}})};
    if (name == "attention") {
      operands.push_back(random_.chance(20) ? position() : nullptr);
      operands.push_back(random_.chance(20) ? of_type({DType::float32, {Dim(2)}}) : nullptr);
    }
  } else if (name == "linears" || name == "gated_linear" || name == "norm_linears" ||
             name == "norm_gated_linear") {
    Value* input = of_rank(static_cast<size_t>(random_(2, 3)));
    if (input == nullptr) return false;
    const bool gated = name.ends_with("gated_linear"), normed = name.starts_with("norm_");
    const Dim columns = random_(1, 4), others = gated ? columns : Dim(random_(1, 4));
    Value *first = of_type({input->dtype(), {columns, input->shape().back()}}),
          *second = of_type({input->dtype(), {others, input->shape().back()}});
    Value *bias = optional({input->dtype(), {columns}}),
          *other = optional({input->dtype(), {others}});
    operands = gated ? std::vector{input, first, second, bias, other}
                     : std::vector{input, first, bias, second, other};
    made_.clear();
    if (gated) made_["activation"] = std::string("silu");
    if (normed) {
      operands.insert(operands.begin() + 1, optional({input->dtype(), {input->shape().back()}}));
      made_["eps"] = 1e-6;
    }
  } else if (name == "rotary_pair" || name == "rotary_cache") {
    const Dim rows = random_size(), size = 2 * random_(1, 2), values = random_(1, 4);
    const auto heads = [&](int64_t count, const Dim& last) {
      return of_type({DType::float32, {1, Dim(count), rows, last}});
    };
    const ValueType table{DType::float32, {rows, size}}, weight{DType::float32, {size}};
    if (name == "rotary_pair") {
      operands = {heads(4, size), heads(2, size)};
    } else {
      operands = {heads(4, size),   new_state({1, 2, rows + 2, size}),
                  heads(2, size),   new_state({1, 2, rows + 2, values}),
                  heads(2, values), position()};
    }
    operands.insert(operands.end(), {of_type(table), of_type(table), optional(weight), nullptr});
    made_ = {{"eps", 1e-6}};
  } else if (name == "cache_update") {
    // On a state or what is left of one.
    std::vector<Value*> states;
    for (Value* value : values_) {
      const Node* producer = value->producer;
      const bool left = producer != nullptr &&
                        producer->overwritten(static_cast<size_t>(value->index)) != nullptr;
      if (value->kind == ir::ValueKind::state || left) states.push_back(value);
    }
    if (states.empty() || random_.chance(20)) {
      states = {new_state({1, random_(1, 2), random_(2, 6), random_(1, 4)})};
    }
    Value* state = random_.pick(states);
    Shape value = state->shape();
    value[2] = 1;
    operands = {state, of_type({state->dtype(), value}), position()};
  } else {
    return false;
  }
  return true;
}

bool Generator::made_image_operands(const OpRow& row, std::vector<Value*>& operands) {
  const std::string_view name = row.name;
  const auto floats = [&](Shape shape) { return of_type({DType::float32, std::move(shape)}); };
  const auto optional = [&](Shape shape) { return random_.chance(60) ? floats(shape) : nullptr; };
  const auto two = [&](int64_t low, int64_t high) {
    return Shape{Dim(random_(low, high)), Dim(random_(low, high))};
  };
  const Dim channels = random_(1, 3);
  const Shape image{random_size(), channels, random_(3, 6), random_(3, 6)};
  if (name == "aten.convolution") {
    const Dim made = random_(1, 3);
    operands = {floats(image), floats({made, channels, random_(1, 3), random_(1, 3)}),
                optional({made})};
    made_ = {{"stride", two(1, 2)},           {"padding", two(0, 1)}, {"dilation", Shape{1, 1}},
             {"output_padding", Shape{0, 0}}, {"transposed", false},  {"groups", Dim(1)}};
  } else if (name == "aten.max_pool2d_with_indices" || name == "aten.avg_pool2d") {
    operands = {floats(image)};
    made_ = {{"kernel_size", two(2, 3)}, {"stride", two(1, 2)}, {"padding", two(0, 1)}};
  } else if (name.find("adaptive_avg_pool2d") != std::string_view::npos ||
             name.starts_with("aten.upsample")) {
    operands = {floats(image)};
    made_ = {{"output_size", two(1, 5)}};
  } else if (name == "aten._native_batch_norm_legit_no_training") {
    const Shape each{channels};
    operands = {floats(image), optional(each), optional(each), floats(each), floats(each)};
  } else if (name == "aten.native_group_norm") {
    operands = {floats(image), optional({channels}), optional({channels})};
    made_ = {{"N", image[0]},
             {"C", channels},
             {"HxW", image[2] * image[3]},
             {"group", random_.chance(50) ? channels : Dim(1)}};
  } else if (name == "aten.mv") {
    const Dim columns = random_size();
    operands = {floats({random_size(), columns}), floats({columns})};
  } else if (name == "aten.select_scatter" || name == "aten.index_put") {
    const Dim rows = random_(2, 4), columns = random_size();
    operands = {floats({rows, columns}), floats({columns})};
    made_ = {{"dim", Dim(0)}, {"index", Dim(random_(-1, 1))}};
    if (name == "aten.index_put")
      operands.insert(operands.begin() + 1, of_type({DType::int64, {}}));
  } else {
    return false;
  }
  return true;
}

}  // namespace

const std::vector<ir::Bindings>& random_bindings() {
  static const std::vector<ir::Bindings> bindings = {
      {{"s0", 5}, {"s1", 5}}, {{"s0", 3}, {"s1", 2}}, {{"s0", 1}, {"s1", 4}}};
  return bindings;
}

ir::Graph random_graph(const ir::OpTable& table, uint32_t seed, const RandomGraphOptions& options) {
  return Generator(table, seed, options).run();
}

std::vector<Tensor> random_inputs(const Graph& graph, const ir::Bindings& bindings, uint32_t seed) {
  Random random(seed);
  std::vector<Tensor> tensors;
  for (const Value* input : graph.inputs()) {
    std::vector<int64_t> sizes;
    for (const Dim& dim : input->shape()) sizes.push_back(dim.evaluate(bindings));
    tensors.push_back(random_tensor(random, input->dtype(), std::move(sizes)));
  }
  return tensors;
}

}  // namespace ostinato
