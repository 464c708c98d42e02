#pragma once

#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "ostinato/plan/plan.h"

namespace ostinato::plan {

/// A value's storage and how it lies in it; the layout's offset counts from the place's start.
struct Located {
  Place place;
  ir::Layout layout;
};

/// From a layout's first element to its last, in elements; strides are not negative.
size_t extent_of(const ir::Layout& layout);

/// Where every value lies so far, and which calls have been passed: so that it is known what of a
/// storage is still to be read.
class Storages {
 public:
  void put(const ir::Value* value, Located where);
  const Located& at(const ir::Value* value) const { return located_.at(value); }

  /// The call is planned: what it reads, it has read.
  void pass(const ir::Node& node) { passed_.insert(&node); }

  /// The operand over which the call may write the result, or null. It has the result's type and
  /// lies as the result is to lie, nothing after this call reads its storage, and the call reads
  /// that storage nowhere else than where it writes.
  const ir::Value* operand_to_overwrite(const ir::Node& node, size_t result,
                                        const ir::Layout& layout, const Options& options) const;

 private:
  using Key = std::pair<Place::Kind, size_t>;

  bool may_overwrite(const ir::Node& node, const ir::Value* operand, const ir::Value* result,
                     const ir::Layout& layout, const Options& options) const;
  bool is_read_later(const Key& key, const ir::Node& node) const;

  std::unordered_map<const ir::Value*, Located> located_;
  std::map<Key, std::vector<const ir::Value*>> residents_;
  std::unordered_set<const ir::Node*> passed_;
};

/// The place of an operand of `aten.cat` within the result.
struct Slice {
  const ir::Node* cat;
  size_t offset;  ///< bytes
};

/// The values that can be written straight to their place in a concatenation, of concatenations all
/// of whose operands can: each is made by a call of its own, for this only or read besides, and the
/// slices lie one after the other.
std::unordered_map<const ir::Value*, Slice> cat_slices(const ir::Graph& graph);

}  // namespace ostinato::plan
