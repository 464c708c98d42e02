#include "ostinato/plan/plan.h"

#include <algorithm>
#include <unordered_map>

#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"

namespace ostinato::plan {

namespace {

using ir::Graph;
using ir::Layout;
using ir::Node;
using ir::Value;

/// A value's storage and how it lies in it; the layout's offset counts from the storage's start.
struct Located {
  Place place;
  Layout layout;
};

class Planner {
 public:
  Planner(Graph graph, device::Device& device, device::PackedWeights& packed,
          const Options& options)
      : device_(device), packed_(packed), options_(options) {
    plan_.graph = std::move(graph);
  }

  Plan run() {
    place_leaves();
    // Nodes are walked by hand, since copies are inserted before the one at hand.
    const auto& nodes = plan_.graph.nodes();
    const auto total = static_cast<double>(nodes.size());
    double done = 0;
    for (auto it = nodes.begin(); it != nodes.end(); ++it) {
      lower(**it);
      if (options_.progress) options_.progress("preparing kernels", ++done / total);
    }
    place_outputs();
    find_lifetimes();
    plan_.arena_bytes = assign_offsets(plan_.buffers);
    return std::move(plan_);
  }

 private:
  void place_leaves() {
    const auto place = [this](const std::vector<Value*>& values, Place::Kind kind) {
      for (size_t i = 0; i < values.size(); ++i) {
        bytes_of(*values[i]);  // throws for one that is too large
        Place where{kind, i, 0, kind == Place::Kind::constant ? values[i] : nullptr};
        located_[values[i]] = {where, Layout::contiguous(to_integers(values[i]->shape()))};
      }
    };
    place(plan_.graph.inputs(), Place::Kind::input);
    place(plan_.graph.constants(), Place::Kind::constant);
    place(plan_.graph.states(), Place::Kind::state);
  }

  void lower(const Node& node) {
    if (node.op->traits.view && place_view(node)) return;
    std::unique_ptr<device::Kernel> kernel = device_.prepare(request(node));
    if (kernel == nullptr && make_contiguous(node)) kernel = device_.prepare(request(node));
    if (kernel == nullptr) report_gap(node);
    emit(node, std::move(kernel));
  }

  /// Gives a view's results the operand's storage; false when some result needs a copy.
  bool place_view(const Node& node) {
    const Located& base = located_.at(node.operands[0]);
    std::vector<Layout> layouts;
    for (size_t i = 0; i < node.results.size(); ++i) {
      std::optional<Layout> layout = node.op->view(node, i, base.layout);
      if (!layout) return false;
      layouts.push_back(std::move(*layout));
    }
    for (size_t i = 0; i < layouts.size(); ++i) {
      located_[node.results[i]] = {base.place, std::move(layouts[i])};
    }
    return true;
  }

  device::Request request(const Node& node) const {
    device::Request request;
    request.node = &node;
    request.tier = options_.tier;
    request.threads = options_.threads;
    request.packed = &packed_;
    for (const Value* operand : node.operands) {
      request.inputs.emplace_back();
      request.constants.push_back(nullptr);
      if (operand == nullptr) continue;
      const Located& at = located_.at(operand);
      request.inputs.back() = {operand->dtype(), at.layout};
      request.inputs.back()->layout.offset = 0;
      if (at.place.kind == Place::Kind::constant) {
        const auto* data = static_cast<const char*>(at.place.constant->data.data());
        request.constants.back() = data + byte_offset(operand, at);
      }
    }
    for (const Value* result : node.results) {
      request.outputs.push_back(
          {result->dtype(), Layout::contiguous(to_integers(result->shape()))});
    }
    return request;
  }

  static size_t byte_offset(const Value* value, const Located& at) {
    return at.place.offset + static_cast<size_t>(at.layout.offset) * size_of(value->dtype());
  }

  /// Puts a copy before the node for each operand that is not contiguous; false if all are.
  bool make_contiguous(const Node& node) {
    bool changed = false;
    for (size_t i = 0; i < node.operands.size(); ++i) {
      Value* operand = node.operands[i];
      if (operand == nullptr || located_.at(operand).layout.is_contiguous()) continue;
      if (static_cast<int>(i) == node.op->traits.mutates) continue;
      plan_.graph.set_operand(node.position->get(), i, copy(operand, &node));
      changed = true;
    }
    return changed;
  }

  Value* copy(Value* value, const Node* before) {
    ir::Builder build(plan_.graph, ops::table(), before);
    Value* result = build("aten.clone", {value});
    lower(*result->producer);
    return result;
  }

  void emit(const Node& node, std::unique_ptr<device::Kernel> kernel) {
    Step step;
    step.node = &node;
    for (const Value* operand : node.operands) {
      step.inputs.push_back(operand == nullptr ? Place{} : place_of(operand));
    }
    for (size_t i = 0; i < node.results.size(); ++i) {
      const Value* result = node.results[i];
      if (i == 0 && node.op->traits.mutates >= 0) {
        located_[result] = located_.at(node.operands[static_cast<size_t>(node.op->traits.mutates)]);
      } else {
        located_[result] = {new_buffer(bytes_of(*result)),
                            Layout::contiguous(to_integers(result->shape()))};
      }
      step.outputs.push_back(place_of(result));
    }
    const size_t scratch = kernel->scratch_bytes();
    if (scratch > 0) step.scratch = new_buffer(scratch);
    step.kernel = std::move(kernel);
    plan_.steps.push_back(std::move(step));
  }

  Place place_of(const Value* value) const {
    const Located& at = located_.at(value);
    Place place = at.place;
    place.offset = byte_offset(value, at);
    return place;
  }

  Place new_buffer(size_t bytes) {
    plan_.buffers.push_back({bytes, 0, 0, 0});
    return {Place::Kind::arena, plan_.buffers.size() - 1, 0, nullptr};
  }

  /// Lets the step that makes an output write straight to the caller's memory where the output is
  /// the whole of one arena buffer; anything else is copied there.
  void place_outputs() {
    const auto& outputs = plan_.graph.outputs();
    std::unordered_map<size_t, size_t> output_of_buffer;
    for (size_t i = 0; i < outputs.size(); ++i) {
      Value* value = outputs[i].value;
      if (!is_whole_buffer(value) || output_of_buffer.count(located_.at(value).place.index) > 0) {
        value = copy(value, nullptr);
        plan_.graph.set_output(i, value);
      }
      output_of_buffer[located_.at(value).place.index] = i;
    }
    const auto redirect = [&](Place& place) {
      if (place.kind != Place::Kind::arena) return;
      const auto it = output_of_buffer.find(place.index);
      if (it != output_of_buffer.end())
        place = {Place::Kind::output, it->second, place.offset, nullptr};
    };
    for (Step& step : plan_.steps) {
      std::for_each(step.inputs.begin(), step.inputs.end(), redirect);
      std::for_each(step.outputs.begin(), step.outputs.end(), redirect);
    }
    for (const auto& [buffer, output] : output_of_buffer) plan_.buffers[buffer].bytes = 0;
  }

  bool is_whole_buffer(const Value* value) const {
    const Located& at = located_.at(value);
    return at.place.kind == Place::Kind::arena && at.layout.offset == 0 &&
           at.layout.is_contiguous() && bytes_of(*value) == plan_.buffers[at.place.index].bytes;
  }

  void find_lifetimes() {
    std::vector<bool> seen(plan_.buffers.size(), false);
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const auto touch = [&](const Place& place) {
        if (place.kind != Place::Kind::arena) return;
        Buffer& buffer = plan_.buffers[place.index];
        if (!seen[place.index]) buffer.first = i;
        seen[place.index] = true;
        buffer.last = i;
      };
      const Step& step = plan_.steps[i];
      std::for_each(step.inputs.begin(), step.inputs.end(), touch);
      std::for_each(step.outputs.begin(), step.outputs.end(), touch);
      touch(step.scratch);
    }
  }

  [[noreturn]] void report_gap(const Node& node) const {
    std::string dtypes;
    for (const Value* operand : node.operands) {
      dtypes += (dtypes.empty() ? "" : ", ") +
                (operand == nullptr
                     ? std::string("None")
                     : fmt::format("{}{}", name_of(operand->dtype()), to_string(operand->shape())));
    }
    fail(ErrorCode::unsupported, fmt::format("plan/{}", node.op->name),
         "Run it in another dtype, or report the operator as missing.",
         "device '{}' has no kernel for ({}){}", device_.name(), dtypes,
         node.source.empty() ? "" : fmt::format(" at {}", node.source));
  }

  Plan plan_;
  device::Device& device_;
  device::PackedWeights& packed_;
  Options options_;
  std::unordered_map<const Value*, Located> located_;
};

}  // namespace

Plan make_plan(Graph graph, device::Device& device, device::PackedWeights& packed,
               const Options& options) {
  return Planner(std::move(graph), device, packed, options).run();
}

}  // namespace ostinato::plan
