#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/ir/attribute.h"
#include "ostinato/ir/layout.h"

namespace ostinato::ir {

class Builder;
struct Node;
struct Value;

/// What a value is made of, with symbolic sizes.
struct ValueType {
  DType dtype = DType::float32;
  Shape shape;

  bool operator==(const ValueType&) const = default;
};

/// `tensor` is always there, `optional` may be None, `list` is any number of tensors, each of which
/// may be None where the schema allows it (the indices of `aten.index.Tensor`).
enum class OperandKind { tensor, optional, list, optional_list };

struct OperandSpec {
  std::string_view name;
  OperandKind kind = OperandKind::tensor;
};

/// An argument that is not a tensor. Without a default it must be given; `Attribute{}` as the
/// default is None.
struct AttrSpec {
  std::string_view name;
  AttrKind kind;
  std::optional<Attribute> fallback = std::nullopt;
};

/// A result that may stand in an operand's memory.
struct InPlace {
  size_t result, operand;
};

/// What the passes, the planner and the executors need to know of an operator beyond its schema.
struct OpTraits {
  bool view = false;         ///< results may share operand 0's storage: `OpRow::view` tells how
  bool elementwise = false;  ///< each output element depends on the operands' same element only
  /// Results that kernels may write element over element of an operand, as those of elementwise
  /// operators: no worker reads anything of a place after one of them wrote there.
  std::vector<InPlace> in_place = {};
  /// Kernels take operands, and write results, with the dims but the last in any order in memory.
  bool strided = false;
  bool random = false;  ///< two calls with equal operands may differ
  /// The operands that are overwritten, each of which must be a state; result i is what operand
  /// `mutates[i]` is afterwards.
  std::vector<size_t> mutates = {};

  bool writes() const { return !mutates.empty(); }
  bool writes(size_t operand) const;  ///< whether that one is overwritten
};

/// The truth about one operator. Printer, parser, verifier, passes and documentation derive from
/// it.
struct OpRow {
  /// Types of the results, from the operands' types and the attributes; throws `invalid_argument`
  /// with the stage `ops/NAME`.
  using InferRule = std::vector<ValueType> (*)(const Node& node);
  /// For views: where a result (by index: a split has several) lies within the operand's storage;
  /// nullopt when no strides can express it, and a copy is needed. Sizes are integers.
  using ViewRule = std::optional<Layout> (*)(const Node& node, size_t result,
                                             const Layout& operand);
  /// For fused operators: their definition in plain operators. Returns the results' replacements.
  using Expansion = std::vector<Value*> (*)(Builder& builder, const Node& node);

  std::string_view name = {};  ///< `aten.add.Tensor`; core ATen without `.default`, fused ones bare
  std::vector<OperandSpec> operands = {};  ///< at most one is a list
  std::vector<AttrSpec> attributes = {};
  int results = 1;  ///< -1: as many as `infer` says, such as the pieces of a split
  InferRule infer = nullptr;
  OpTraits traits = {};
  ViewRule view = nullptr;
  Expansion expand = nullptr;
};

/// All operators, by name. Immutable once made.
class OpTable {
 public:
  /// Throws `internal` when the name is there already.
  void add(OpRow row);

  /// The row, or null. A trailing `.default` is understood.
  const OpRow* find(std::string_view name) const;

  /// The row; throws `not_found` with the nearest name.
  const OpRow& at(std::string_view name) const;

  /// Sorted by name.
  std::vector<const OpRow*> rows() const;

 private:
  std::map<std::string_view, OpRow, std::less<>> rows_;
};

}  // namespace ostinato::ir
