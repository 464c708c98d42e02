#include <cmath>

#include "ostinato/ops/infer.h"
#include "ostinato/ops/ops.h"

namespace ostinato::ops {

namespace {

using ir::Attribute;
using ir::Dim;
using ir::Node;
using ir::ValueType;

DType dtype_or(const Node& node, DType fallback) {
  return node.has("dtype") ? node.dtype("dtype") : fallback;
}

const ir::Shape& checked_size(const Node& node) {
  const ir::Shape& size = node.dims("size");
  for (const Dim& dim : size) {
    if (dim.is_constant() && dim.value() < 0) {
      reject(node, "Sizes are never negative.", "expected a size of at least 0, got {}",
             to_string(size));
    }
  }
  return size;
}

std::vector<ValueType> infer_sized(const Node& node) {
  return {{dtype_or(node, DType::float32), checked_size(node)}};
}

std::vector<ValueType> infer_full(const Node& node) {
  return {{dtype_or(node, promote({}, node.attribute("fill_value"))), checked_size(node)}};
}

std::vector<ValueType> infer_like(const Node& node) {
  const ir::Value* self = node.operands[0];
  return {{dtype_or(node, self->dtype()), self->shape()}};
}

std::vector<ValueType> infer_scalar_tensor(const Node& node) {
  return {{dtype_or(node, DType::float32), {}}};
}

std::vector<ValueType> infer_empty_permuted(const Node& node) {
  const std::vector<int64_t> order = node.integers("physical_layout");
  std::vector<bool> seen(node.dims("size").size(), false);
  bool valid = order.size() == seen.size();
  for (const int64_t dim : order) {
    valid = valid && dim >= 0 && dim < static_cast<int64_t>(seen.size()) &&
            !seen[static_cast<size_t>(dim)];
    if (valid) seen[static_cast<size_t>(dim)] = true;
  }
  if (!valid) {
    reject(node, "Name every dim once.", "expected an order of {} dims, got [{}]", seen.size(),
           fmt::join(order, ", "));
  }
  return infer_sized(node);
}

// The attribute, or for a shorter overload its default.
Attribute bound(const Node& node, std::string_view name, int64_t fallback) {
  for (size_t i = 0; i < node.attributes.size(); ++i) {
    if (node.op->attributes[i].name == name) return node.attributes[i];
  }
  return Dim(fallback);
}

Dim as_dim(const Node& node, const Attribute& value) {
  if (const bool* boolean = std::get_if<bool>(&value)) return Dim(*boolean ? 1 : 0);
  if (const Dim* integer = std::get_if<Dim>(&value)) return *integer;
  const double real = std::get<double>(value);
  if (!(std::abs(real) < 0x1p62)) {
    reject(node, "Give bounds that fit in 64 bits.", "expected an integer, got {}", real);
  }
  return Dim(static_cast<int64_t>(real));
}

// ceil((end - start) / step)
std::vector<ValueType> infer_arange(const Node& node) {
  const Attribute start = bound(node, "start", 0), end = bound(node, "end", 0),
                  step = bound(node, "step", 1);
  const auto holds_real = [](const Attribute& value) {
    return std::holds_alternative<double>(value);
  };
  const bool real = holds_real(start) || holds_real(end) || holds_real(step);
  const DType dtype = dtype_or(node, real ? DType::float32 : DType::int64);
  if (dtype == DType::boolean) {
    reject(node, "Give a dtype of numbers.", "expected a dtype of numbers, got bool");
  }
  const auto reject_step = [&] {
    reject(node, "Step from the start towards the end.",
           "expected a step other than 0 that leads from {} to {}, got {}", to_string(start),
           to_string(end), to_string(step));
  };
  if (!is_floating(dtype) && as_dim(node, step).is(0)) reject_step();  // 0.5 as an integer
  if (real && dtype != DType::int64) {
    const auto by = ir::number_of<double>(step);
    const double length =
        std::ceil((ir::number_of<double>(end) - ir::number_of<double>(start)) / by);
    if (by == 0 || length < 0) reject_step();
    if (!(length < 0x1p62)) {
      reject(node, "Give finite bounds and a larger step.", "expected a finite length, got {}",
             length);
    }
    return {{dtype, {Dim(static_cast<int64_t>(length))}}};
  }
  // PyTorch truncates real bounds for int64, and for it alone.
  const Dim stride = as_dim(node, step);
  if (stride.is(0)) reject_step();
  const Dim length = Dim(0) - floor_div(as_dim(node, start) - as_dim(node, end), stride);
  if (length.is_constant() && length.value() < 0) reject_step();
  return {{dtype, {length}}};
}

}  // namespace

void add_create(ir::OpTable& table) {
  using enum ir::AttrKind;
  const ir::AttrSpec size{"size", integers}, type{"dtype", dtype, Attribute{}};
  const ir::AttrSpec fill{"fill_value", scalar};
  // What is uninitialised in PyTorch is zero here, so that every run gives the same.
  for (const std::string_view name : {"aten.zeros", "aten.ones", "aten.empty.memory_format"}) {
    table.add({.name = name, .attributes = {size, type}, .infer = infer_sized});
  }
  table.add({.name = "aten.empty_permuted",
             .attributes = {size, {"physical_layout", integers}, type},
             .infer = infer_empty_permuted});
  table.add({.name = "aten.full", .attributes = {size, fill, type}, .infer = infer_full});
  for (const std::string_view name : {"aten.zeros_like", "aten.ones_like", "aten.empty_like"}) {
    table.add({.name = name, .operands = {{"self"}}, .attributes = {type}, .infer = infer_like});
  }
  table.add({.name = "aten.full_like",
             .operands = {{"self"}},
             .attributes = {fill, type},
             .infer = infer_like});
  table.add({.name = "aten.scalar_tensor",
             .attributes = {{"s", scalar}, type},
             .infer = infer_scalar_tensor});
  table.add({.name = "aten.arange", .attributes = {{"end", scalar}, type}, .infer = infer_arange});
  table.add({.name = "aten.arange.start",
             .attributes = {{"start", scalar}, {"end", scalar}, type},
             .infer = infer_arange});
  table.add({.name = "aten.arange.start_step",
             .attributes = {{"start", scalar}, {"end", scalar}, {"step", scalar, Dim(1)}, type},
             .infer = infer_arange});
}

}  // namespace ostinato::ops
