#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/ir/op.h"

namespace ostinato::ir {

/// Throws `invalid_argument` unless the operands are as many as the row has, and none is None that
/// the row needs.
void check_operands(const OpRow& op, std::span<Value* const> operands);

/// Throws `invalid_argument` unless the attributes are those of the row, each of its kind.
void check_attributes(const OpRow& op, std::span<const Attribute> attributes);

/// Where a value comes from. A `state` is a named buffer with a fixed address that lives between
/// replays, such as a KV cache.
enum class ValueKind { input, constant, state, result };

/// One SSA value. Owned by its graph.
struct Value {
  struct Use {
    Node* node;
    size_t operand;
  };

  int id = 0;        ///< unique within the graph; `%id` in text
  std::string name;  ///< of an input, constant or state: what callers and weights know it by
  ValueKind kind = ValueKind::result;
  ValueType type;
  Node* producer = nullptr;  ///< of a result
  int index = 0;             ///< which of the producer's results
  Tensor data;               ///< of a constant; undefined until weights are attached
  /// Of a constant that lies in the memory of the graph's device: where, kept alive. Its `data` may
  /// then be undefined.
  std::shared_ptr<const void> on_device;
  std::vector<Use> uses;   ///< operands of nodes; the graph's outputs are not among them
  size_t output_uses = 0;  ///< how many of the graph's outputs it is

  const Shape& shape() const { return type.shape; }
  DType dtype() const { return type.dtype; }
  size_t rank() const { return type.shape.size(); }
};

/// The bytes of a value whose sizes are integers, when it is contiguous. Throws `out_of_memory`
/// naming the value above 1 TiB, also for sizes of which another is zero, since strides are
/// products too: so sums of bytes and products of strides stay within 64 bits.
size_t bytes_of(const Value& value);

/// One call of an operator. Owned by its graph; operands change through `Graph::set_operand`.
struct Node {
  const OpRow* op = nullptr;
  std::vector<Value*> operands;  ///< null where an optional one is None; lists are spread out
  std::vector<Value*> results;
  std::vector<Attribute> attributes;  ///< in the order of the row, defaults filled in
  std::string source;  ///< where in the user's model it comes from, when the importer knows
  std::list<std::unique_ptr<Node>>::iterator position;  ///< in the graph's list

  /// The attribute of that name; the accessors below throw `internal` if it is of another kind.
  const Attribute& attribute(std::string_view name) const;
  bool has(std::string_view name) const;  ///< whether the attribute is other than None
  bool flag(std::string_view name) const;
  int64_t integer(std::string_view name) const;  ///< must not be symbolic
  const Dim& dim(std::string_view name) const;
  double real(std::string_view name) const;  ///< takes integers and bools too
  const std::string& string(std::string_view name) const;
  DType dtype(std::string_view name) const;
  const Shape& dims(std::string_view name) const;
  std::vector<int64_t> integers(std::string_view name) const;  ///< none may be symbolic

  /// The operand that the result is after the call has overwritten it; null for other results.
  Value* overwritten(size_t result) const;

  /// The operand that `OpTraits::in_place` names for the result, or null.
  Value* in_place_operand(size_t result) const;

  /// The operand of that name in the row: null when None. For a list use `list`.
  Value* operand(std::string_view name) const;
  std::span<Value* const> list() const;  ///< the row's list operand
};

struct Output {
  std::string name;
  Value* value;
};

/// A computation in SSA form. Nodes are in an order in which they can run.
class Graph {
 public:
  using Nodes = std::list<std::unique_ptr<Node>>;

  Graph() = default;
  Graph(Graph&&) = default;
  Graph& operator=(Graph&&) = default;

  std::string name;

  Value* add_input(std::string name, ValueType type);
  Value* add_constant(std::string name, ValueType type, Tensor data = {});
  Value* add_state(std::string name, ValueType type);

  /// Adds a call before a node (null: at the end), its types inferred by the row. Attributes that
  /// are not given take the row's default, operands left out at the end are None. Throws
  /// `invalid_argument` for a wrong number of operands or an unknown attribute.
  Node* add_node(const OpRow& op, std::vector<Value*> operands,
                 const std::vector<NamedAttribute>& attributes, const Node* before = nullptr);
  /// The same, before a node (null: at the end), with all attributes in the row's order.
  Node* insert_node(const Node* before, const OpRow& op, std::vector<Value*> operands,
                    std::vector<Attribute> attributes);

  void add_output(std::string name, Value* value);
  void set_output(size_t index, Value* value);

  const std::vector<Value*>& inputs() const { return inputs_; }
  const std::vector<Value*>& constants() const { return constants_; }
  const std::vector<Value*>& states() const { return states_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  const Nodes& nodes() const { return nodes_; }
  size_t value_count() const { return values_.size(); }  ///< greater than every value's id

  /// Gives every value a new id: `ids[old]`, all different; for the parser.
  void renumber(const std::vector<int>& ids);

  void set_operand(Node* node, size_t index, Value* value);
  void replace_all_uses(Value* old_value, Value* new_value);  ///< outputs included
  bool is_output(const Value* value) const { return value->output_uses > 0; }
  bool is_used(const Value* value) const { return !value->uses.empty() || is_output(value); }
  void erase(Node* node);                ///< none of its results may be used; throws `internal`
  void erase_constant(Value* constant);  ///< must be unused
  size_t erase_unused_constants();       ///< how many there were

  /// Symbols in inputs' and states' shapes, then in nodes' attributes, in order of appearance.
  std::vector<std::string> symbols() const;

  /// A deep copy with the same ids; constants share their data. Symbols that are bound become
  /// integers throughout, and types are inferred anew.
  Graph specialise(const Bindings& bindings) const;

 private:
  Value* add_value(ValueKind kind, std::string name, ValueType type);

  std::vector<Value*> inputs_, constants_, states_;
  std::vector<Output> outputs_;
  Nodes nodes_;
  std::vector<std::unique_ptr<Value>> values_;  // by id; null where erased or skipped
};

/// The bindings under which the inputs' shapes become those given; throws `invalid_argument` naming
/// the input, its shape and what was got.
Bindings bind_inputs(const Graph& graph, std::span<const std::vector<int64_t>> shapes);

}  // namespace ostinato::ir
