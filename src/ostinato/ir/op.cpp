#include "ostinato/ir/op.h"

#include <algorithm>

#include "ostinato/base/error.h"

namespace ostinato::ir {

bool OpTraits::writes(size_t operand) const {
  return std::find(mutates.begin(), mutates.end(), operand) != mutates.end();
}

void OpTable::add(OpRow row) {
  const std::string_view name = row.name;
  for (AttrSpec& spec : row.attributes) {
    if (!spec.fallback) continue;
    std::optional<Attribute> value = normalise(spec.kind, *spec.fallback);
    if (!value) {
      fail(ErrorCode::internal, "ir/op", "Give it a default of its own kind.",
           "the default of {}'s '{}' is not of kind {}", name, spec.name, name_of(spec.kind));
    }
    spec.fallback = std::move(*value);
  }
  if (!rows_.emplace(name, std::move(row)).second) {
    fail(ErrorCode::internal, "ir/op", "Give each operator one row.", "{} has two rows", name);
  }
}

const OpRow* OpTable::find(std::string_view name) const {
  constexpr std::string_view kDefault = ".default";
  if (name.ends_with(kDefault)) name.remove_suffix(kDefault.size());
  const auto it = rows_.find(name);
  return it == rows_.end() ? nullptr : &it->second;
}

const OpRow& OpTable::at(std::string_view name) const {
  if (const OpRow* row = find(name)) return *row;
  std::vector<std::string_view> names;
  for (const auto& entry : rows_) names.push_back(entry.first);
  const std::string_view guess = nearest(name, names);
  fail(ErrorCode::not_found, "ir/op",
       guess.empty() ? "Its row would be in src/ostinato/ops; CONTRIBUTING.md says how to add one."
                     : fmt::format("Did you mean '{}'?", guess),
       "there is no operator '{}'", name);
}

std::vector<const OpRow*> OpTable::rows() const {
  std::vector<const OpRow*> result;
  for (const auto& entry : rows_) result.push_back(&entry.second);
  return result;
}

}  // namespace ostinato::ir
