// Any call of any operator, on any operands and with any attributes, is an Error or runs in every
// mode without touching what is not its own.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "ostinato/base/dtype.h"
#include "ostinato/error.h"
#include "ostinato/ir/verifier.h"
#include "ostinato/ops/ops.h"
#include "ostinato/runtime/context.h"

namespace {

using namespace ostinato;

constexpr int64_t kMostElements = 1 << 12;  // larger values only cost time

int64_t integer_of(FuzzedDataProvider& data) {
  // Strides in bytes are products of these, and must fit in 64 bits.
  constexpr int64_t kOdd[] = {int64_t{1} << 32, int64_t{1} << 31, -(int64_t{1} << 31)};
  return data.ConsumeProbability<float>() < 0.9f ? data.ConsumeIntegralInRange<int64_t>(-3, 6)
                                                 : data.PickValueInArray(kOdd);
}

double real_of(FuzzedDataProvider& data) {
  if (data.ConsumeProbability<float>() < 0.5f) return data.ConsumeFloatingPointInRange(-4.0, 4.0);
  return data.ConsumeFloatingPoint<double>();
}

DType dtype_of_byte(FuzzedDataProvider& data) {
  constexpr DType kAll[] = {DType::float32, DType::bfloat16, DType::float16, DType::int64,
                            DType::int32,   DType::uint8,    DType::boolean};
  return data.PickValueInArray(kAll);
}

ir::Attribute attribute_of(FuzzedDataProvider& data, const ir::AttrSpec& spec) {
  using Kind = ir::AttrKind;
  if (spec.fallback && data.ConsumeBool()) return *spec.fallback;
  switch (spec.kind) {
    case Kind::boolean: return data.ConsumeBool();
    case Kind::integer: return ir::Dim(integer_of(data));
    case Kind::real: return real_of(data);
    case Kind::scalar:
      if (data.ConsumeBool()) return ir::Dim(integer_of(data));
      return data.ConsumeBool() ? ir::Attribute(data.ConsumeBool()) : ir::Attribute(real_of(data));
    case Kind::string: {
      constexpr const char* kTexts[] = {"none", "tanh", "floor", "trunc", "relu",
                                        "gelu", "silu", "sum",   "amax",  "mean"};
      return std::string(data.PickValueInArray(kTexts));
    }
    case Kind::dtype: return dtype_of_byte(data);
    case Kind::integers: {
      ir::Shape values(data.ConsumeIntegralInRange<size_t>(0, 4));
      for (ir::Dim& value : values) value = integer_of(data);
      return values;
    }
  }
  __builtin_unreachable();
}

/// An earlier value, or a new input or state.
ir::Value* operand_of(FuzzedDataProvider& data, ir::Graph& graph, std::vector<ir::Value*>& values,
                      bool is_state) {
  if (!is_state && !values.empty() && data.ConsumeBool()) {
    return values[data.ConsumeIntegralInRange<size_t>(0, values.size() - 1)];
  }
  ir::Shape shape(data.ConsumeIntegralInRange<size_t>(0, 4));
  for (ir::Dim& size : shape) size = data.ConsumeIntegralInRange<int64_t>(0, 5);
  const ir::ValueType type{dtype_of_byte(data), shape};
  const std::string name = std::to_string(values.size());
  values.push_back(is_state ? graph.add_state(name, type) : graph.add_input(name, type));
  return values.back();
}

void add_call(FuzzedDataProvider& data, ir::Graph& graph, std::vector<ir::Value*>& values) {
  static const std::vector<const ir::OpRow*> rows = ops::table().rows();
  const ir::OpRow& row = *rows[data.ConsumeIntegralInRange<size_t>(0, rows.size() - 1)];
  std::vector<ir::Value*> operands;
  for (const ir::OperandSpec& spec : row.operands) {
    using Kind = ir::OperandKind;
    const bool is_list = spec.kind == Kind::list || spec.kind == Kind::optional_list;
    const bool may_lack = spec.kind == Kind::optional || spec.kind == Kind::optional_list;
    const int count = is_list ? data.ConsumeIntegralInRange(0, 3) : 1;
    for (int i = 0; i < count; ++i) {
      const std::vector<size_t>& mutates = row.traits.mutates;
      const bool is_state =
          std::find(mutates.begin(), mutates.end(), operands.size()) != mutates.end();
      const bool is_none = may_lack && data.ConsumeBool();
      operands.push_back(is_none ? nullptr : operand_of(data, graph, values, is_state));
    }
  }
  std::vector<ir::NamedAttribute> attributes;
  for (const ir::AttrSpec& spec : row.attributes) {
    attributes.push_back({spec.name, attribute_of(data, spec)});
  }
  const ir::Node* node = graph.add_node(row, operands, attributes);
  values.insert(values.end(), node->results.begin(), node->results.end());
}

bool is_small(const ir::Value* value) {
  const ir::Dim count = numel(value->shape());
  return count.is_constant() && count.value() <= kMostElements;
}

/// Elements of any bits, but for bools, which have two values.
Tensor tensor_of(FuzzedDataProvider& data, const ir::ValueType& type) {
  Tensor tensor = Tensor::empty(type.dtype, to_integers(type.shape));
  const bool is_small_integer = data.ConsumeBool();
  dispatch(type.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < tensor.numel(); ++i) {
      if constexpr (std::is_same_v<T, bool>) {
        tensor.as<T>()[i] = data.ConsumeBool();
      } else if (is_small_integer) {
        const int value = data.ConsumeIntegralInRange(-2, 6);
        if constexpr (is_floating_v<T>) {
          tensor.as<T>()[i] = from_float<T>(static_cast<float>(value));
        } else {
          tensor.as<T>()[i] = static_cast<T>(value);
        }
      } else {
        const auto bits = data.ConsumeIntegral<uint64_t>();
        std::memcpy(tensor.as<T>() + i, &bits, sizeof(T));
      }
    }
  });
  return tensor;
}

void run(const ir::Graph& graph, const std::vector<Tensor>& inputs, runtime::Mode mode) {
  try {
    runtime::Context context(std::make_shared<const runtime::Program>(
        graph.specialise({}), device::get("cpu"), runtime::ProgramOptions{mode, 1, {}, {}}));
    context.run(inputs);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  ir::Graph graph;
  std::vector<ir::Value*> values;
  std::vector<Tensor> inputs;
  try {
    add_call(data, graph, values);  // one: after an index out of range a second reads anything
    for (const ir::Value* value : values) {
      if (!is_small(value)) return 0;
    }
    graph.add_output("y", values.back());
    for (const ir::Value* input : graph.inputs()) inputs.push_back(tensor_of(data, input->type));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();
    return 0;
  }
  try {
    ir::verify(graph);
  } catch (const Error&) {
    return 0;  // reads what was overwritten
  }
  for (const auto mode : {runtime::Mode::reference, runtime::Mode::eager, runtime::Mode::graph}) {
    run(graph, inputs, mode);
  }
  return 0;
}
