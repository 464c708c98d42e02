#include "device/kernel_case.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernel.h"
#include "ostinato/device/cpu/reference/reference.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "support/tolerance.h"

namespace ostinato::cpu {

namespace {

using device::Request;
using device::TensorDesc;
using device::Tier;

// An operand in memory that ends right after its last element, for the sanitizers to see.
struct Operand {
  TensorDesc desc;
  std::vector<char> bytes;
  size_t offset = 0;  // of the first element

  void* data() { return bytes.data() + offset; }
};

Operand draw(const Draw& wanted, std::mt19937& random) {
  Operand operand;
  operand.desc.dtype = wanted.dtype;
  std::vector<int64_t> stored = wanted.sizes;
  const size_t rank = stored.size();
  const Storage storage = rank == 0 ? Storage::contiguous : wanted.storage;
  if (storage == Storage::permuted && rank > 1) std::swap(stored[rank - 1], stored[rank - 2]);
  if (storage == Storage::sliced) stored[rank - 1] = 2 * stored[rank - 1] + 1;
  if (storage == Storage::expanded) stored[0] = std::min<int64_t>(stored[0], 1);
  ir::Layout layout = ir::Layout::contiguous(stored);
  const auto count = static_cast<size_t>(layout.numel());
  if (storage == Storage::permuted && rank > 1) {
    std::swap(layout.strides[rank - 1], layout.strides[rank - 2]);
  }
  if (storage == Storage::sliced) {
    layout.strides[rank - 1] = 2;
    operand.offset = count > 0 ? size_of(wanted.dtype) : 0;
  }
  if (storage == Storage::expanded) layout.strides[0] = 0;
  layout.sizes = wanted.sizes;
  operand.desc.layout = layout;
  operand.bytes.resize(count * size_of(wanted.dtype));
  dispatch(wanted.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* values = reinterpret_cast<T*>(operand.bytes.data());
    std::normal_distribution<double> normal(wanted.shift, wanted.scale);
    std::uniform_int_distribution<int64_t> uniform(wanted.low, wanted.high - 1);
    for (size_t i = 0; i < count; ++i) {
      if constexpr (is_floating_v<T>) {
        values[i] = from_float<T>(static_cast<float>(normal(random)));
      } else if constexpr (std::is_same_v<T, bool>) {
        values[i] = (random() & 1) != 0;
      } else {
        values[i] = static_cast<T>(uniform(random));
      }
    }
  });
  return operand;
}

// The same floats as fp32, row-major.
Operand widened(Operand& operand) {
  Operand wide;
  wide.desc = {DType::float32, ir::Layout::contiguous(operand.desc.sizes())};
  wide.bytes.resize(wide.desc.bytes());
  const reference::View from(operand.data(), operand.desc), to(wide.data(), wide.desc);
  to.from_floats(from.to_floats());
  return wide;
}

// Outputs with a margin of known bytes on either side.
struct Output {
  static constexpr size_t kMargin = 128;
  static constexpr char kMark = 0x5a;

  TensorDesc desc;
  std::vector<char> bytes;

  explicit Output(const TensorDesc& d) : desc(d), bytes(d.bytes() + 2 * kMargin, kMark) {}
  void* data() { return bytes.data() + kMargin; }
  bool margins_are_intact() const {
    const auto marked = [](char c) { return c == kMark; };
    return std::all_of(bytes.begin(), bytes.begin() + kMargin, marked) &&
           std::all_of(bytes.end() - kMargin, bytes.end(), marked);
  }
};

struct Problem {
  ir::Graph graph;
  const ir::Node* node = nullptr;
  std::vector<Operand> operands;
  std::vector<bool> present;
};

Problem build(const KernelCase& test) {
  Problem problem;
  std::mt19937 random(static_cast<uint32_t>(std::hash<std::string_view>()(test.op)));
  std::vector<ir::Value*> values;
  for (size_t i = 0; i < test.operands.size(); ++i) {
    problem.present.push_back(test.operands[i].has_value());
    problem.operands.push_back(test.operands[i] ? draw(*test.operands[i], random) : Operand());
    if (!test.operands[i]) {
      values.push_back(nullptr);
      continue;
    }
    const Draw& wanted = *test.operands[i];
    values.push_back(problem.graph.add_input(
        fmt::format("x{}", i),
        {wanted.dtype, ir::Shape(wanted.sizes.begin(), wanted.sizes.end())}));
  }
  ir::Builder builder(problem.graph, ops::table());
  problem.node = builder.call(test.op, values, test.attributes);
  return problem;
}

// How the results of `strided` operators lie: row-major; with two dims swapped; so too, and over
// the operands that they may overwrite.
enum class Results { rows, permuted, in_place };

std::vector<Results> results_of(const ir::Node& node) {
  if (!node.op->traits.strided) return {Results::rows};
  return {Results::rows, Results::permuted, Results::in_place};
}

TensorDesc result_desc(const ir::Node& node, size_t index, Results results) {
  const ir::Value* value = node.results[index];
  std::vector<int64_t> sizes = ir::to_integers(value->shape());
  const size_t rank = sizes.size();
  const bool rows = results == Results::rows || rank < 3 || node.overwritten(index) != nullptr;
  if (rows) return {value->dtype(), ir::Layout::contiguous(std::move(sizes))};
  std::swap(sizes[rank - 3], sizes[rank - 2]);
  ir::Layout layout = ir::Layout::contiguous(std::move(sizes));
  std::swap(layout.sizes[rank - 3], layout.sizes[rank - 2]);
  std::swap(layout.strides[rank - 3], layout.strides[rank - 2]);
  return {value->dtype(), std::move(layout)};
}

// Which results are written over which operands.
std::vector<ir::InPlace> overwritten(const Problem& problem, Results results) {
  std::vector<ir::InPlace> pairs;
  if (results != Results::in_place) return pairs;
  for (const ir::InPlace& pair : problem.node->op->traits.in_place) {
    const ir::Value *from = problem.node->operands[pair.operand],
                    *to = problem.node->results[pair.result];
    if (from->type == to->type) pairs.push_back(pair);
  }
  return pairs;
}

// For the operands as they lie in memory, or as the results that are written over them do.
Request request_of(const Problem& problem, Results results) {
  Request request;
  request.node = problem.node;
  for (size_t i = 0; i < problem.operands.size(); ++i) {
    request.inputs.push_back(problem.present[i] ? std::optional(problem.operands[i].desc)
                                                : std::nullopt);
  }
  request.constants.resize(problem.operands.size());
  for (size_t i = 0; i < problem.node->results.size(); ++i) {
    request.outputs.push_back(result_desc(*problem.node, i, results));
  }
  for (const ir::InPlace& pair : overwritten(problem, results)) {
    request.inputs[pair.operand] = request.outputs[pair.result];
  }
  return request;
}

// Puts the operand's elements where the result is to be written over them.
void lay_operand(Operand& operand, Output& output) {
  reference::View(output.data(), output.desc)
      .from_floats(reference::View(operand.data(), operand.desc).to_floats());
}

// The results in rows, to be compared.
std::vector<Output> in_rows(std::vector<Output> outputs) {
  for (Output& output : outputs) {
    EXPECT_TRUE(output.margins_are_intact()) << "wrote outside of its output";
    if (output.desc.layout.is_contiguous()) continue;
    Output rows({output.desc.dtype, ir::Layout::contiguous(output.desc.sizes())});
    reference::View(rows.data(), rows.desc)
        .from_floats(reference::View(output.data(), output.desc).to_floats());
    output = std::move(rows);
  }
  return outputs;
}

std::vector<Output> run(Problem& problem, const KernelCase& test, Tier tier, int threads,
                        Results results) {
  device::PackedWeights packed;
  Request request = request_of(problem, results);
  request.tier = tier;
  request.threads = threads;
  request.packed = &packed;
  for (size_t i = 0; i < problem.operands.size(); ++i) {
    const bool constant = test.operands[i] && test.operands[i]->constant;
    if (constant) request.constants[i] = problem.operands[i].data();
  }
  std::vector<Output> outputs(request.outputs.begin(), request.outputs.end());
  std::vector<void*> inputs, targets;
  std::vector<Operand> operands = problem.operands;  // a state may be overwritten
  for (Operand& operand : operands) inputs.push_back(operand.data());
  for (Output& output : outputs) targets.push_back(output.data());
  const std::vector<size_t>& mutates = problem.node->op->traits.mutates;
  for (size_t i = 0; i < mutates.size(); ++i) {
    std::memcpy(targets[i], operands[mutates[i]].bytes.data(), outputs[i].desc.bytes());
    inputs[mutates[i]] = targets[i];
  }
  for (const ir::InPlace& pair : overwritten(problem, results)) {
    lay_operand(problem.operands[pair.operand], outputs[pair.result]);
    inputs[pair.operand] = targets[pair.result];
  }
  const Factory make = kernels().find(problem.node->op->name, tier);
  std::unique_ptr<Kernel> kernel = make == nullptr ? nullptr : make(request);
  if (kernel == nullptr) {
    ADD_FAILURE() << "there is no kernel";
    return {};
  }
  std::vector<char> scratch(kernel->scratch_bytes() + 64);
  const size_t skip = 64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64;
  Fault fault = nullptr;
  Args args{inputs.data(), targets.data(), scratch.data() + skip, &fault};
  const int workers = kernel->workers();
  std::vector<Share> shares(static_cast<size_t>(workers));
  for (int i = 0; i < workers; ++i)
    shares[static_cast<size_t>(i)].deal(kernel->items({i, workers}));
  if (workers > 1 && kernel->items({0, workers}) > 0) args.shares = shares.data();
  for (int i = workers; i-- > 0;) kernel->run(args, {i, workers});  // the last one helps all others
  EXPECT_EQ(fault.load(), nullptr) << "fault";
  return in_rows(std::move(outputs));
}

std::map<std::string, size_t, std::less<>>& runs() {
  static std::map<std::string, size_t, std::less<>> counts;
  return counts;
}

Operand contiguous(Operand& operand) {
  Operand copy;
  copy.desc = {operand.desc.dtype, ir::Layout::contiguous(operand.desc.sizes())};
  copy.bytes.resize(copy.desc.bytes());
  const reference::View from(operand.data(), operand.desc), to(copy.data(), copy.desc);
  is_floating(from.dtype()) ? to.from_floats(from.to_floats())
                            : to.from_integers(from.to_integers());
  return copy;
}

// As the planner and the runtime do it. Nothing when the device has no kernel for the case, or when
// it is too large for kernels that are emulated thread by thread.
std::vector<Output> run_on(device::Device& device, Problem& problem, Results results) {
  const bool attends = problem.node->op->name.find("attention") != std::string_view::npos;
  const int64_t most = attends ? 6000 : 20000;
  int64_t elements = 0;
  for (const Operand& operand : problem.operands) elements += operand.desc.numel();
  for (const ir::Value* result : problem.node->results) {
    elements +=
        TensorDesc{result->dtype(), ir::Layout::contiguous(ir::to_integers(result->shape()))}
            .numel();
  }
  if (elements > most) return {};
  device::PackedWeights packed;
  Request request = request_of(problem, results);
  request.packed = &packed;
  device::Step step;
  step.kernel = device.prepare(request);
  if (step.kernel == nullptr) {
    for (size_t i = 0; i < problem.operands.size(); ++i) {
      if (problem.present[i]) problem.operands[i] = contiguous(problem.operands[i]);
    }
    request = request_of(problem, results);
    request.packed = &packed;
    step.kernel = device.prepare(request);
  }
  if (step.kernel == nullptr) return {};
  ++runs()[std::string(problem.node->op->name)];
  const auto stream = device.make_stream(1);
  std::vector<std::shared_ptr<void>> memory;
  const auto take = [&](const std::vector<char>& bytes, size_t offset) {
    memory.push_back(device.allocate(bytes.size()));
    device.copy_to_device(memory.back().get(), bytes.data(), bytes.size(), *stream);
    return device::Address{device::Address::Kind::fixed,
                           static_cast<char*>(memory.back().get()) + offset, 0, 0};
  };
  for (size_t i = 0; i < problem.operands.size(); ++i) {
    step.inputs.emplace_back();
    if (!problem.present[i]) continue;
    step.inputs.back() = take(problem.operands[i].bytes, problem.operands[i].offset);
  }
  std::vector<Output> outputs(request.outputs.begin(), request.outputs.end());
  for (const ir::InPlace& pair : overwritten(problem, results)) {
    lay_operand(problem.operands[pair.operand], outputs[pair.result]);
  }
  for (const Output& output : outputs) step.outputs.push_back(take(output.bytes, Output::kMargin));
  const std::vector<std::shared_ptr<void>> written(memory.end() - std::ssize(outputs),
                                                   memory.end());
  const std::vector<size_t>& mutates = problem.node->op->traits.mutates;
  for (size_t i = 0; i < mutates.size(); ++i) {
    const Operand& state = problem.operands[mutates[i]];
    device.copy_to_device(step.outputs[i].pointer, state.bytes.data(), outputs[i].desc.bytes(),
                          *stream);
    step.inputs[mutates[i]] = step.outputs[i];
  }
  for (const ir::InPlace& pair : overwritten(problem, results)) {
    step.inputs[pair.operand] = step.outputs[pair.result];
  }
  // Copies are queued: what they read stays until all is done.
  const std::vector<char> scratch(step.kernel->scratch_bytes(), Output::kMark);
  if (!scratch.empty()) step.scratch = take(scratch, 0);
  device.launch(step, {}, *stream);
  for (size_t i = 0; i < outputs.size(); ++i) {
    device.copy_to_host(outputs[i].bytes.data(), written[i].get(), outputs[i].bytes.size(),
                        *stream);
  }
  device.synchronise(*stream);
  return in_rows(std::move(outputs));
}

// Runs the nodes of a graph one by one by reference kernels, every result in memory of its own.
std::vector<Output> run_graph(const ir::Graph& graph, std::vector<Operand> inputs,
                              std::span<ir::Value* const> wanted) {
  std::map<const ir::Value*, Output> values;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Output value({inputs[i].desc.dtype, ir::Layout::contiguous(inputs[i].desc.sizes())});
    const reference::View from(inputs[i].data(), inputs[i].desc);
    const reference::View to(value.data(), value.desc);
    is_floating(from.dtype()) ? to.from_floats(from.to_floats())
                              : to.from_integers(from.to_integers());
    values.emplace(graph.inputs()[i], std::move(value));
  }
  for (const auto& node : graph.nodes()) {
    if (node->op->expand != nullptr) continue;  // the fused call itself
    Request request;
    request.node = node.get();
    request.tier = Tier::reference;
    std::vector<void*> sources, targets;
    for (const ir::Value* operand : node->operands) {
      Output* value = operand == nullptr ? nullptr : &values.at(operand);
      request.inputs.push_back(value ? std::optional(value->desc) : std::nullopt);
      sources.push_back(value ? value->data() : nullptr);
    }
    request.constants.resize(sources.size());
    for (const ir::Value* result : node->results) {
      request.outputs.push_back(
          {result->dtype(), ir::Layout::contiguous(ir::to_integers(result->shape()))});
      Output& value = values.emplace(result, Output(request.outputs.back())).first->second;
      targets.push_back(value.data());
    }
    for (size_t i = 0; i < node->op->traits.mutates.size(); ++i) {  // states begin as they were
      const Output& state = values.at(node->overwritten(i));
      std::memcpy(targets[i], sources[node->op->traits.mutates[i]], state.desc.bytes());
    }
    const auto kernel = kernels().find(node->op->name, Tier::reference)(request);
    Fault fault = nullptr;
    kernel->run({sources.data(), targets.data(), nullptr, &fault}, {0, 1});
  }
  std::vector<Output> results;
  for (const ir::Value* value : wanted) results.push_back(values.at(value));
  return results;
}

// A fused operator has no reference kernel: its oracle is its expansion, in fp32 throughout.
std::vector<Output> run_expansion(const KernelCase& test, const Problem& problem) {
  ir::Graph graph;
  std::vector<ir::Value*> values;
  std::vector<Operand> inputs;
  for (size_t i = 0; i < problem.operands.size(); ++i) {
    if (!problem.present[i]) {
      values.push_back(nullptr);
      continue;
    }
    Operand operand = problem.operands[i];
    if (is_floating(operand.desc.dtype)) operand = widened(operand);
    const std::vector<int64_t>& sizes = operand.desc.sizes();
    values.push_back(graph.add_input(fmt::format("x{}", i),
                                     {operand.desc.dtype, ir::Shape(sizes.begin(), sizes.end())}));
    inputs.push_back(std::move(operand));
  }
  ir::Builder builder(graph, ops::table());
  const ir::Node* node = builder.call(test.op, values, test.attributes);
  return run_graph(graph, std::move(inputs), node->op->expand(builder, *node));
}

double value_at(const Output& output, size_t i) {
  return dispatch(output.desc.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T value;
    std::memcpy(&value, output.bytes.data() + Output::kMargin + i * sizeof(T), sizeof(T));
    if constexpr (is_floating_v<T>) {
      return static_cast<double>(to_float(value));
    } else {
      return static_cast<double>(value);
    }
  });
}

void expect_close(const Output& got, const Output& want, Tolerance tolerance) {
  EXPECT_TRUE(got.margins_are_intact()) << "wrote outside of its output";
  double worst = 0;
  for (size_t i = 0; i < static_cast<size_t>(want.desc.numel()); ++i) {
    const double a = value_at(got, i), b = value_at(want, i);
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double allowed = tolerance.atol + tolerance.rtol * std::fabs(b);
    const double difference = std::fabs(a - b);
    worst = std::fmax(worst, difference);
    if (difference <= allowed) continue;
    ADD_FAILURE() << fmt::format(
        "element {} of {} {}: expected {:.9g}, got {:.9g}, allowed ±{:.3g}", i,
        name_of(want.desc.dtype), fmt::join(want.desc.sizes(), "x"), b, a, allowed);
    return;
  }
}

std::string describe(const KernelCase& test) {
  std::string text(test.op);
  for (const auto& operand : test.operands) {
    if (!operand) {
      text += " None";
      continue;
    }
    text += fmt::format(" {}({}){}", name_of(operand->dtype), fmt::join(operand->sizes, ","),
                        std::string_view("cpse").substr(static_cast<size_t>(operand->storage), 1));
  }
  for (const ir::NamedAttribute& attribute : test.attributes) {
    text += fmt::format(" {}={}", attribute.name, ir::to_string(attribute.value));
  }
  return text;
}

// Kernels of other dtypes than bfloat16 are those of the level below AMX.
bool runs_on(Isa level, const KernelCase& test) {
  if (level != Isa::amx) return true;
  const auto is_bfloat16 = [](const auto& x) { return x && x->dtype == DType::bfloat16; };
  return !test.slow && std::any_of(test.operands.begin(), test.operands.end(), is_bfloat16);
}

void expect_fast_equals(const std::vector<Output>& want, const KernelCase& test, Problem& problem) {
  device::Device* const device = device_under_test();
  for (const Results results : results_of(*problem.node)) {
    for (int threads : {1, 3}) {
      if (device != nullptr && threads > 1) break;
      SCOPED_TRACE(fmt::format("{} threads, results {}", threads, static_cast<int>(results)));
      const std::vector<Output> got = device != nullptr
                                          ? run_on(*device, problem, results)
                                          : run(problem, test, Tier::fast, threads, results);
      if (got.size() != want.size()) return;
      for (size_t i = 0; i < want.size(); ++i) {
        expect_close(got[i], want[i], tolerance_of(std::string(test.kind), got[i].desc.dtype));
      }
    }
  }
}

}  // namespace

void for_each_isa(const std::function<void(Isa level)>& test) {
  static const std::vector<Isa> levels = isas_under_test();
  const Isa before = isa();
  for (const Isa level : levels) {
    SCOPED_TRACE(name_of(level));
    use_isa(level);
    test(level);
  }
  use_isa(before);
}

void expect_fast_equals_reference(const KernelCase& test) {
  SCOPED_TRACE(describe(test));
  Problem problem = build(test);
  const bool fused = problem.node->op->expand != nullptr;
  const std::vector<Output> want =
      fused ? run_expansion(test, problem) : run(problem, test, Tier::reference, 1, Results::rows);
  for_each_isa([&](Isa level) {
    if (runs_on(level, test)) expect_fast_equals(want, test, problem);
  });
}

size_t runs_on_device(std::string_view op) {
  const auto found = runs().find(op);
  return found == runs().end() ? 0 : found->second;
}

}  // namespace ostinato::cpu
