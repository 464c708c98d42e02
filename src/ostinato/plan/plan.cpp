#include "ostinato/plan/plan.h"

#include <algorithm>
#include <unordered_map>

#include "ostinato/base/error.h"
#include "ostinato/ir/aliases.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ops/ops.h"
#include "ostinato/passes/cost.h"
#include "ostinato/plan/branches.h"
#include "ostinato/plan/order.h"
#include "ostinato/plan/storage.h"

namespace ostinato::plan {

namespace {

using ir::Graph;
using ir::Layout;
using ir::Node;
using ir::Value;

class Planner {
 public:
  Planner(Graph graph, device::Device& device, device::PackedWeights& packed,
          const Options& options)
      : device_(device), packed_(packed), options_(options) {
    plan_.graph = std::move(graph);
    plan_.donations = options_.donations;
    if (options_.cat_in_place) slices_ = cat_slices(plan_.graph);
  }

  Plan run() {
    place_leaves();
    // Listed before the walk, in which copies are inserted.
    std::vector<const Node*> order;
    if (options_.reorder) {
      order = order_for_memory(plan_.graph);
    } else {
      for (const auto& node : plan_.graph.nodes()) order.push_back(node.get());
    }
    double done = 0;
    for (const Node* node : order) {
      lower(*node);
      storages_.pass(*node);
      if (options_.progress) {
        options_.progress("preparing kernels", ++done / static_cast<double>(order.size()));
      }
    }
    place_outputs();
    if (options_.branches) find_branches();
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
        storages_.put(values[i], {where, Layout::contiguous(to_integers(values[i]->shape()))});
      }
    };
    place(plan_.graph.inputs(), Place::Kind::input);
    place(plan_.graph.constants(), Place::Kind::constant);
    place(plan_.graph.states(), Place::Kind::state);
  }

  void lower(const Node& node) {
    if (node.op->traits.view && place_view(node)) return;
    if (const auto joined = joined_.find(&node); joined != joined_.end()) {
      const Value* result = node.results[0];
      storages_.put(result, {joined->second, Layout::contiguous(to_integers(result->shape()))});
      return;
    }
    device::Request wanted = request(node);
    std::unique_ptr<device::Kernel> kernel = device_.prepare(wanted);
    if (kernel == nullptr && make_contiguous(node)) {
      wanted = request(node);
      kernel = device_.prepare(wanted);
    }
    if (kernel == nullptr && node.op->expand != nullptr) return lower_definition(node);
    if (kernel == nullptr) report_gap(node);
    emit(node, std::move(kernel), wanted.outputs);
  }

  /// Plans the definition of a fused call that the device has no kernel for. The call itself stays,
  /// without a reader.
  void lower_definition(const Node& node) {
    const auto& nodes = plan_.graph.nodes();
    const bool is_first = node.position == nodes.begin();
    const auto before =
        is_first ? nodes.end() : std::prev(Graph::Nodes::const_iterator(node.position));
    ir::Builder build(plan_.graph, ops::table(), &node);
    build.set_source(node.source);
    const std::vector<Value*> results = node.op->expand(build, node);
    for (size_t i = 0; i < results.size(); ++i) {
      plan_.graph.replace_all_uses(node.results[i], results[i]);
    }
    auto it = is_first ? nodes.begin() : std::next(before);
    for (; it->get() != &node; ++it) {
      lower(**it);
      storages_.pass(**it);
    }
  }

  /// Gives a view's results the operand's storage; false when some result needs a copy.
  bool place_view(const Node& node) {
    const Located base = storages_.at(node.operands[0]);
    std::vector<Layout> layouts;
    layouts.reserve(node.results.size());
    for (size_t i = 0; i < node.results.size(); ++i) {
      std::optional<Layout> layout = node.op->view(node, i, base.layout);
      if (!layout) return false;
      layouts.push_back(std::move(*layout));
    }
    for (size_t i = 0; i < layouts.size(); ++i) {
      storages_.put(node.results[i], {base.place, std::move(layouts[i])});
    }
    return true;
  }

  device::Request request(const Node& node) const {
    device::Request request;
    request.node = &node;
    request.tier = options_.tier;
    request.threads = options_.threads;
    if (const auto limit = options_.thread_limits.find(node.results[0]->id);
        limit != options_.thread_limits.end()) {
      request.threads = std::min(request.threads, limit->second);
    }
    request.packed = &packed_;
    request.inputs.reserve(node.operands.size());
    request.constants.reserve(node.operands.size());
    request.outputs.reserve(node.results.size());
    for (const Value* operand : node.operands) {
      request.inputs.emplace_back();
      request.constants.push_back(nullptr);
      if (operand == nullptr) continue;
      const Located& at = storages_.at(operand);
      request.inputs.back() = {operand->dtype(), at.layout};
      request.inputs.back()->layout.offset = 0;
      if (at.place.kind == Place::Kind::constant) {
        if (at.place.constant->data.defined()) {
          const auto* data = static_cast<const char*>(at.place.constant->data.data());
          request.constants.back() = data + byte_offset(operand, at);
        } else {
          request.resident.insert(request.constants.size() - 1);
        }
      }
    }
    for (size_t i = 0; i < node.results.size(); ++i) {
      request.outputs.push_back({node.results[i]->dtype(), layout_for(node, i)});
    }
    return request;
  }

  Layout layout_for(const Node& node, size_t index) const {
    const Value *result = node.results[index], *operand = node.in_place_operand(index);
    if (slices_.count(result) > 0 || node.overwritten(index) != nullptr) {
      return Layout::contiguous(to_integers(result->shape()));
    }
    return ir::result_layout(node, index,
                             operand == nullptr ? nullptr : &storages_.at(operand).layout);
  }

  static size_t byte_offset(const Value* value, const Located& at) {
    return at.place.offset + static_cast<size_t>(at.layout.offset) * size_of(value->dtype());
  }

  /// Puts a copy before the node for each operand that is not contiguous; false if all are.
  bool make_contiguous(const Node& node) {
    bool changed = false;
    for (size_t i = 0; i < node.operands.size(); ++i) {
      Value* operand = node.operands[i];
      if (operand == nullptr || storages_.at(operand).layout.is_contiguous()) continue;
      if (node.op->traits.writes(i)) continue;
      plan_.graph.set_operand(node.position->get(), i, copy(operand, &node));
      changed = true;
    }
    return changed;
  }

  Value* copy(Value* value, const Node* before) {
    ir::Builder build(plan_.graph, ops::table(), before);
    Value* result = build("aten.clone", {value});
    lower(*result->producer);
    storages_.pass(*result->producer);
    return result;
  }

  void emit(const Node& node, std::unique_ptr<device::Kernel> kernel,
            const std::vector<device::TensorDesc>& results) {
    Step step;
    step.node = &node;
    step.inputs.reserve(node.operands.size());
    step.outputs.reserve(node.results.size());
    for (const Value* operand : node.operands) {
      step.inputs.push_back(operand == nullptr ? Place{} : place_of(operand));
    }
    for (size_t i = 0; i < node.results.size(); ++i) {
      const Value* result = node.results[i];
      if (const Value* state = node.overwritten(i)) {
        storages_.put(result, storages_.at(state));
      } else {
        const Layout& layout = results[i].layout;
        storages_.put(result, {place_for(node, i, layout), layout});
      }
      step.outputs.push_back(place_of(result));
    }
    const size_t scratch = kernel->scratch_bytes();
    if (scratch > 0) step.scratch = new_buffer(scratch);
    step.kernel = std::move(kernel);
    plan_.steps.push_back(std::move(step));
  }

  /// Where a call writes a result: into its slice of a concatenation, over an operand that nothing
  /// reads any more, or into memory of its own.
  Place place_for(const Node& node, size_t index, const Layout& layout) {
    const Value* result = node.results[index];
    if (const auto slice = slices_.find(result); slice != slices_.end()) {
      const auto [joined, made] = joined_.try_emplace(slice->second.cat);
      if (made) joined->second = new_buffer(bytes_of(*slice->second.cat->results[0]));
      Place place = joined->second;
      place.offset = slice->second.offset;
      return place;
    }
    if (const Value* operand = storages_.operand_to_overwrite(node, index, layout, options_)) {
      return storages_.at(operand).place;
    }
    return new_buffer(bytes_of(*result));
  }

  Place place_of(const Value* value) const {
    const Located& at = storages_.at(value);
    Place place = at.place;
    place.offset = byte_offset(value, at);
    place.bytes = extent_of(at.layout) * size_of(value->dtype());
    return place;
  }

  Place new_buffer(size_t bytes) {
    plan_.buffers.push_back({bytes, 0, 0, 0});
    return {Place::Kind::arena, plan_.buffers.size() - 1, 0, nullptr, bytes};
  }

  /// Lets the step that makes an output write straight to the caller's memory where the output is
  /// the whole of one arena buffer; anything else is copied there, but for what already stands in
  /// the input donated to it.
  void place_outputs() {
    const auto& outputs = plan_.graph.outputs();
    plan_.in_input.assign(outputs.size(), false);
    for (const Donation& donation : options_.donations) {
      const Value* input = plan_.graph.inputs().at(donation.input);
      const Located& at = storages_.at(outputs.at(donation.output).value);
      plan_.in_input[donation.output] = at.place.kind == Place::Kind::input &&
                                        at.place.index == donation.input && at.layout.offset == 0 &&
                                        at.layout == storages_.at(input).layout;
    }
    std::unordered_map<size_t, Place> places;  // by buffer
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (plan_.in_input[i]) continue;
      Value* value = outputs[i].value;
      if (!is_whole_buffer(value) || places.count(storages_.at(value).place.index) > 0) {
        value = copy(value, nullptr);
        plan_.graph.set_output(i, value);
      }
      places[storages_.at(value).place.index] = {Place::Kind::output, i, 0, nullptr, 0};
    }
    for (const Donation& donation : options_.donations) donate(donation, places);
    const auto redirect = [&](Place& place) {
      if (place.kind != Place::Kind::arena) return;
      const auto it = places.find(place.index);
      if (it == places.end()) return;
      place.kind = it->second.kind;
      place.index = it->second.index;
    };
    for (Step& step : plan_.steps) {
      std::for_each(step.inputs.begin(), step.inputs.end(), redirect);
      std::for_each(step.outputs.begin(), step.outputs.end(), redirect);
    }
    for (const auto& entry : places) plan_.buffers[entry.first].bytes = 0;
  }

  /// Puts an output's buffer into the input donated to it where every step that touches the input
  /// runs before every step that touches the buffer.
  void donate(const Donation& donation, std::unordered_map<size_t, Place>& places) {
    if (plan_.in_input[donation.output]) return;
    const Value* output = plan_.graph.outputs()[donation.output].value;
    const Value* input = plan_.graph.inputs()[donation.input];
    if (output->type != input->type || output->output_uses > 1) return;
    const size_t buffer = storages_.at(output).place.index;
    bool written = false;
    for (const Step& step : plan_.steps) {
      const auto touches = [&step](Place::Kind kind, size_t index) {
        const auto same = [=](const Place& p) { return p.kind == kind && p.index == index; };
        return std::any_of(step.inputs.begin(), step.inputs.end(), same) ||
               std::any_of(step.outputs.begin(), step.outputs.end(), same);
      };
      written = written || touches(Place::Kind::arena, buffer);
      if (written && touches(Place::Kind::input, donation.input)) return;
    }
    places[buffer] = {Place::Kind::input, donation.input, 0, nullptr, 0};
    plan_.in_input[donation.output] = true;
  }

  bool is_whole_buffer(const Value* value) const {
    const Located& at = storages_.at(value);
    return at.place.kind == Place::Kind::arena && at.place.offset == 0 && at.layout.offset == 0 &&
           at.layout.is_contiguous() && bytes_of(*value) == plan_.buffers[at.place.index].bytes;
  }

  void find_branches() {
    const device::Concurrency machine = device_.concurrency(options_.threads);
    std::optional<std::unordered_map<const Value*, ir::Alias>> aliases;
    mark_branches(plan_.steps, machine, [&](const Step& step) {
      if (!aliases) aliases = ir::find_aliases(plan_.graph);
      const passes::Cost cost = passes::cost_of(
          *step.node, *aliases, {machine.flops_per_second, machine.bytes_per_second});
      return machine.step_seconds + cost.seconds / step.kernel->workers();
    });
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
    keep_sides_apart(plan_.steps, plan_.buffers);
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
  Storages storages_;
  std::unordered_map<const Value*, Slice> slices_;
  std::unordered_map<const Node*, Place> joined_;  // buffers that slices are written into
};

}  // namespace

Plan make_plan(Graph graph, device::Device& device, device::PackedWeights& packed,
               const Options& options) {
  return Planner(std::move(graph), device, packed, options).run();
}

}  // namespace ostinato::plan
