#include "ostinato/device/cuda/persistent/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "ostinato/device/cuda/persistent/dataflow.h"
#include "ostinato/device/cuda/persistent/operand.h"
#include "ostinato/device/cuda/persistent/stages.h"

namespace ostinato::cuda::persistent {

using device::Address;

namespace {

constexpr int64_t kMostVector = 32 << 10;  // elements that shared memory has room for
constexpr int64_t kMostUnit = 2048;        // elements of a row that a warp takes at once
constexpr int kMostSplits = 64;

void require(bool holds, const Call& call, std::string_view what) {
  if (!holds) throw Refused{fmt::format("{} {}", call.request.node->op->name, what)};
}

class Planner {
 public:
  Planner(const std::vector<Call>& calls, int multiprocessors)
      : calls_(calls), stages_(multiprocessors), flow_(schedule_) {}

  Schedule plan();

 private:
  void take(const Call& call);
  void take_embedding(const Call& call);
  void take_selection(const Call& call);
  void take_norm(const Call& call);
  void take_product(const Call& call);
  void take_rotary(const Call& call);
  void take_attention(const Call& call);
  void take_argmax(const Call& call);

  Product normed(const Call& call, const Operand& input, const Operand& weight,
                 std::vector<int>& after);
  std::vector<Part> parts_of(const Call& call) const;
  void check_part(const Call& call, const Part& part, int64_t depth) const;
  Product product_of(const Call& call, std::vector<int>& after);
  void place_rows(const Part& part, Product product, int stage, int sm, int64_t begin, int64_t end,
                  int32_t& keep);
  void place_heads(const Attend& attend, int heads, int groups, int stage);
  int64_t capacity_of(const Call& rotary);
  void defer(const Call& call, size_t output, Datum::Kind kind);
  Ref read(const Operand& operand, std::vector<int>& after);
  Ref table(const Operand& operand, const Call& call);
  Ref room(size_t bytes);
  void write(const Operand& output, int stage, Ref& ref);

  const std::vector<Call>& calls_;
  Schedule schedule_;
  Stages stages_;
  Dataflow flow_;
  Tables tables_;
  /// Of a call that has no tasks of its own: what the tasks of those that read it do for it.
  struct Deferred {
    Product product{};
    Attend attend{};
    std::vector<int> after;
  };
  std::map<const Call*, Deferred> deferred_;
  std::map<int, int64_t> rows_of_;  // products with one result, by their stages
  int64_t capacity_ = 0;
};

Schedule Planner::plan() {
  for (const Call& call : calls_) take(call);
  if (capacity_ == 0) throw Refused{"the graph has no attention over a cache"};
  stages_.finish(schedule_);
  schedule_.following = stages_.following(schedule_);
  schedule_.tables = tables_.make(capacity_);
  schedule_.tables_at = room(schedule_.tables.size()).offset;
  for (Task& task : schedule_.tasks) {
    if (task.kind != Kind::attend) continue;
    task.attend.cos.offset += schedule_.tables_at;
    task.attend.sin.offset += schedule_.tables_at;
  }
  return std::move(schedule_);
}

void Planner::take(const Call& call) {
  using Take = void (Planner::*)(const Call&);
  static const std::map<std::string_view, Take> table = {
      {"aten.embedding", &Planner::take_embedding},
      {"aten.index_select", &Planner::take_selection},
      {"rms_norm", &Planner::take_norm},
      {"linear", &Planner::take_product},
      {"linears", &Planner::take_product},
      {"gated_linear", &Planner::take_product},
      {"norm_linears", &Planner::take_product},
      {"norm_gated_linear", &Planner::take_product},
      {"aten.linear", &Planner::take_product},
      {"rotary_cache", &Planner::take_rotary},
      {"attention", &Planner::take_attention},
      {"aten.argmax", &Planner::take_argmax},
  };
  const std::string_view name = call.request.node->op->name;
  if (const auto found = table.find(name); found != table.end()) {
    (this->*found->second)(call);
  } else if (!tables_.take(call, flow_)) {
    throw Refused{fmt::format("{} is no call that a decoding step is cut at", name)};
  }
}

/// For a result that is no memory: it is computed where it is read.
void Planner::defer(const Call& call, size_t output, Datum::Kind kind) {
  require(call.outputs[output].kind != Address::Kind::output, call, "gives an output of the graph");
  flow_.write(call.outputs[output], call.request.outputs[output], {.kind = kind, .call = &call});
}

/// Room that tasks leave results in, or the caller's memory for what it is given.
Ref Planner::room(size_t bytes) {
  const Ref ref{0, schedule_.workspace_bytes};
  schedule_.workspace_bytes += (bytes + 255) / 256 * 256;
  return ref;
}

void Planner::write(const Operand& output, int stage, Ref& ref) {
  ref = output.address.kind == Address::Kind::output ? flow_.external(output.address)
                                                     : room(output.desc->bytes());
  flow_.write(output.address, *output.desc, {.ref = ref, .stage = stage});
}

Ref Planner::read(const Operand& operand, std::vector<int>& after) {
  if (!operand.given()) return {};
  const Datum datum = flow_.read(operand.address, *operand.desc);
  if (datum.kind != Datum::Kind::memory) {
    throw Refused{"a call reads what only fused calls can"};
  }
  const DType dtype = operand.desc->dtype;
  if (dtype != schedule_.dtype && dtype != DType::int64) {
    throw Refused{
        fmt::format("the graph computes in {} and {}", name_of(schedule_.dtype), name_of(dtype))};
  }
  after.push_back(datum.stage);
  return datum.ref;
}

void Planner::take_embedding(const Call& call) {
  const Operand weight = operand(call, "weight"), indices = operand(call, "indices");
  require(weight.desc->layout.is_contiguous(), call, "has a table with gaps");
  require(indices.numel() == 1, call, "takes more than one token");
  schedule_.dtype = weight.desc->dtype;
  require(schedule_.dtype == DType::bfloat16 || schedule_.dtype == DType::float16, call,
          "is not of bfloat16 or float16");
  std::vector<int> after;
  Task task{};
  task.kind = Kind::embed;
  task.embed = {read(indices, after),
                read(weight, after),
                {},
                weight.desc->sizes()[0],
                weight.desc->sizes()[1]};
  const int stage = stages_.add(after, call.request.node);
  write(result(call, 0), stage, task.embed.output);
  stages_.place(stages_.least_loaded(), stage, task, 0);
}

/// With one row to select from there is nothing to move; an index of another is a fault as ever.
void Planner::take_selection(const Call& call) {
  const Operand self = operand(call, "self"), index = operand(call, "index");
  require(self.numel() == call.request.outputs[0].numel() && index.numel() == 1 &&
              self.desc->layout.is_contiguous(),
          call, "selects among several rows");
  require(call.outputs[0].kind != Address::Kind::output, call, "gives an output of the graph");
  Task task{};
  task.kind = Kind::check;
  std::vector<int> after;
  task.check = {read(index, after), 1};
  stages_.place(stages_.least_loaded(), stages_.add(after, call.request.node), task, 0);
  flow_.write(call.outputs[0], call.request.outputs[0], flow_.read(self.address, *self.desc));
}

void Planner::take_norm(const Call& call) {
  const Operand self = operand(call, "self");
  require(self.desc->layout.is_contiguous() && self.desc->sizes().back() == self.numel(), call,
          "is over several rows");
  auto& [product, attend, after] = deferred_[&call];
  product = normed(call, self, operand(call, "weight"), after);
  defer(call, 0, Datum::Kind::normed);
}

Product Planner::normed(const Call& call, const Operand& input, const Operand& weight,
                        std::vector<int>& after) {
  Product product{};
  product.prologue = Input::normed;
  product.input = read(input, after);
  product.norm_weight = read(weight, after);
  product.eps = static_cast<float>(call.request.node->real("eps"));
  return product;
}

std::vector<Part> Planner::parts_of(const Call& call) const {
  const std::string_view name = call.request.node->op->name;
  std::vector<Part> parts;
  if (name == "gated_linear" || name == "norm_gated_linear") {
    parts.push_back({{operand(call, "gate_weight"), operand(call, "up_weight")},
                     {operand(call, "gate_bias"), operand(call, "up_bias")},
                     {},
                     result(call, 0)});
  } else if (name == "linears" || name == "norm_linears") {
    size_t at = name == "linears" ? 1 : 2;
    for (size_t i = 0; i < call.outputs.size(); ++i, at += 2) {
      parts.push_back({{operand(call, at), {}}, {operand(call, at + 1), {}}, {}, result(call, i)});
    }
  } else {
    parts.push_back({{operand(call, "weight"), {}},
                     {operand(call, "bias"), {}},
                     name == "linear" ? operand(call, "residual") : Operand{},
                     result(call, 0)});
  }
  return parts;
}

void Planner::check_part(const Call& call, const Part& part, int64_t depth) const {
  const int64_t rows = part.weights[0].desc->sizes()[0];
  for (const Operand& weight : part.weights) {
    if (!weight.given()) continue;
    require(weight.desc->layout.is_contiguous() && weight.desc->dtype == schedule_.dtype &&
                weight.address.kind == Address::Kind::fixed,
            call, "has a weight that bulk copies cannot read");
    require(weight.desc->sizes()[0] == rows && weight.desc->sizes()[1] == depth, call,
            "has weights of different sizes");
  }
  for (const Operand& added : {part.biases[0], part.biases[1], part.residual}) {
    if (!added.given()) continue;
    require(added.desc->layout.is_contiguous() && added.numel() == rows, call,
            "adds what is no vector of its result's size");
  }
}

/// All but rows: the vector, and how it is read.
Product Planner::product_of(const Call& call, std::vector<int>& after) {
  const Operand input = operand(call, "input");
  const int64_t depth = input.desc->sizes().back();
  require(input.numel() == depth, call, "takes more than one token");
  require(depth % 8 == 0 && depth <= kMostVector, call,
          fmt::format("has {} columns: expected a multiple of 8 up to {}", depth, kMostVector));
  Product product{};
  const Datum datum = flow_.read(input.address, *input.desc);
  if (call.request.node->op->name.starts_with("norm_")) {
    product = normed(call, input, operand(call, "norm_weight"), after);
  } else if (datum.kind == Datum::Kind::normed || datum.kind == Datum::Kind::attended) {
    const Deferred& deferred = deferred_.at(datum.call);
    product = deferred.product;
    after = deferred.after;
  } else {
    product.prologue = Input::plain;
    product.input = read(input, after);
  }
  product.depth = static_cast<int32_t>(depth);
  schedule_.most_depth = std::max(schedule_.most_depth, product.depth);
  return product;
}

void Planner::take_product(const Call& call) {
  std::vector<int> after;
  Product product = product_of(call, after);
  product.activation = ops::activation_of(*call.request.node);
  const std::vector<Part> parts = parts_of(call);
  product.matrices = parts[0].weights[1].given() ? 2 : 1;
  product.segments = static_cast<int32_t>((product.depth + kMostUnit - 1) / kMostUnit);
  while (product.depth % (product.segments * 8) != 0) ++product.segments;
  int64_t rows = 0;
  for (const Part& part : parts) {
    check_part(call, part, product.depth);
    rows += part.weights[0].desc->sizes()[0];
    for (const Operand* operand :
         {&part.weights[0], &part.weights[1], &part.biases[0], &part.biases[1], &part.residual}) {
      read(*operand, after);
    }
  }
  const int stage = stages_.add(after, call.request.node);
  if (parts.size() == 1) rows_of_[stage] = rows;
  // The rows of all parts in one line, of which each multiprocessor takes a run.
  const std::vector<int64_t> shares = stages_.shares(rows);
  std::vector<int32_t> keep(shares.size());
  int64_t part_begin = 0;
  for (const Part& part : parts) {
    const int64_t part_end = part_begin + part.weights[0].desc->sizes()[0];
    Product of_part = product;
    write(part.output, stage, of_part.output);
    int64_t begin = 0;
    for (size_t sm = 0; sm < shares.size(); begin += shares[sm], ++sm) {
      const int64_t from = std::max(begin, part_begin);
      const int64_t to = std::min(begin + shares[sm], part_end);
      place_rows(part, of_part, stage, static_cast<int>(sm), from - part_begin, to - part_begin,
                 keep[sm]);
    }
    part_begin = part_end;
  }
}

/// Tasks for a run of rows, as many as their partial sums have room for in shared memory.
void Planner::place_rows(const Part& part, Product product, int stage, int sm, int64_t begin,
                         int64_t end, int32_t& keep) {
  const int64_t most = kSums / (product.segments * product.matrices);
  const size_t element = size_of(schedule_.dtype);
  for (; begin < end; begin += most) {
    const int64_t rows = std::min(most, end - begin);
    Task task{};
    task.kind = Kind::product;
    task.product = product;
    std::vector<int> unused;
    const auto row = [&](const Operand& operand, int64_t width) {
      Ref ref = read(operand, unused);
      ref.offset += static_cast<uint64_t>(begin * width) * element;
      return ref;
    };
    for (size_t i = 0; i < 2; ++i) {
      task.product.weights[i] = row(part.weights[i], product.depth);
      task.product.biases[i] = row(part.biases[i], 1);
    }
    task.product.residual = row(part.residual, 1);
    task.product.output.offset += static_cast<uint64_t>(begin) * element;
    task.product.rows = static_cast<int32_t>(rows);
    task.product.first_row = static_cast<int32_t>(begin);
    task.product.keep_input = keep;
    keep = 1;
    const size_t bytes = static_cast<size_t>(rows * product.depth * product.matrices) * element;
    schedule_.weight_bytes += bytes;
    stages_.place(sm, stage, task, bytes);
  }
}

Ref Planner::table(const Operand& operand, const Call& call) {
  const Datum datum = flow_.read(operand.address, *operand.desc);
  require(datum.kind == Datum::Kind::table && operand.desc->dtype == schedule_.dtype &&
              operand.desc->layout.is_contiguous() &&
              operand.desc->sizes().back() == operand.numel(),
          call, "takes cosines or sines that depend on more than the position");
  return {0, tables_.offset_of(datum, operand.desc->bytes(), capacity_)};
}

/// How many positions the caches have room for.
int64_t Planner::capacity_of(const Call& rotary) {
  for (const std::string_view name : {"key_cache", "value_cache"}) {
    const Operand state = operand(rotary, name);
    require(state.desc->layout.is_contiguous() && state.address.kind == Address::Kind::fixed,
            rotary, "has a cache that bulk copies cannot read");
  }
  const int64_t capacity = operand(rotary, "key_cache").desc->sizes()[2];
  require(capacity_ == 0 || capacity == capacity_, rotary, "has a cache of another length");
  return capacity;
}

void Planner::take_rotary(const Call& call) {
  const ir::Node& node = *call.request.node;
  for (const std::string_view name : {"query", "key", "value"}) {
    require(has_dense_heads(*operand(call, name).desc), call, "takes more than one token");
  }
  const int64_t dim = operand(call, "query").desc->sizes()[3];
  require(dim % 8 == 0 && dim <= kMostHeadDim, call,
          fmt::format("has heads of {}: expected a multiple of 8 up to {}", dim, kMostHeadDim));
  require(operand(call, "value").desc->sizes()[3] == dim, call, "has values of another size");
  require(operand(call, "cos").desc->dtype == operand(call, "query").desc->dtype, call,
          "has cosines and sines of another dtype than its queries");
  capacity_ = capacity_of(call);
  tables_.check_position(operand(call, "position").address);
  auto& [product, attend, after] = deferred_[&call];
  attend.query = read(operand(call, "query"), after);
  attend.key = read(operand(call, "key"), after);
  attend.value = read(operand(call, "value"), after);
  attend.query_weight = read(operand(call, "query_weight"), after);
  attend.key_weight = read(operand(call, "key_weight"), after);
  attend.cos = table(operand(call, "cos"), call);
  attend.sin = table(operand(call, "sin"), call);
  attend.key_cache = flow_.external(operand(call, "key_cache").address);
  attend.value_cache = flow_.external(operand(call, "value_cache").address);
  attend.position = flow_.external(operand(call, "position").address);
  attend.head_dim = static_cast<int32_t>(dim);
  attend.rotated = static_cast<int32_t>(operand(call, "cos").numel());
  attend.capacity = static_cast<int32_t>(capacity_);
  attend.interleaved = node.flag("interleaved") ? 1 : 0;
  attend.normed = node.has("eps") ? 1 : 0;
  attend.eps = attend.normed != 0 ? static_cast<float>(node.real("eps")) : 0.0f;
  defer(call, 0, Datum::Kind::cached);
  defer(call, 1, Datum::Kind::cached);
  defer(call, 2, Datum::Kind::turned);
}

void Planner::take_attention(const Call& call) {
  const ir::Node& node = *call.request.node;
  const auto made_by = [&](std::string_view name, Datum::Kind kind) {
    const Operand of = operand(call, name);
    const Datum datum = flow_.read(of.address, *of.desc);
    require(datum.kind == kind, call, "does not follow a rotary_cache");
    return datum.call;
  };
  const Call& rotary = *made_by("query", Datum::Kind::turned);
  require(made_by("key", Datum::Kind::cached) == &rotary &&
              made_by("value", Datum::Kind::cached) == &rotary &&
              operand(call, "key").address.pointer == rotary.outputs[0].pointer,
          call, "reads the cache of another call");
  require(node.flag("causal") && operand(call, "position").given() &&
              !operand(call, "mask").given() && !operand(call, "sinks").given() &&
              !node.has("softcap"),
          call, "has a mask, sinks, a soft cap or no position");
  tables_.check_position(operand(call, "position").address);
  const auto heads = static_cast<int>(operand(rotary, "query").desc->sizes()[1]);
  const auto groups = static_cast<int>(operand(rotary, "key").desc->sizes()[1]);
  const int parts = (heads / groups + kMostHeads - 1) / kMostHeads;
  Attend attend = deferred_.at(&rotary).attend;
  const auto dim = static_cast<size_t>(attend.head_dim);
  attend.window = node.has("window") ? static_cast<int32_t>(node.integer("window")) : -1;
  attend.scale = static_cast<float>(node.has("scale") ? node.real("scale")
                                                      : 1 / std::sqrt(static_cast<double>(dim)));
  // As many factors as there are splits of all heads have to fit where partial sums do.
  const int most = std::clamp(kSums / heads, 1, kMostSplits);
  attend.splits = std::clamp(stages_.multiprocessors() / (groups * parts), 1, most);
  attend.partial = room(static_cast<size_t>(heads * attend.splits) * (dim + 2) * sizeof(float));
  const int stage = stages_.add(deferred_.at(&rotary).after, &node);
  place_heads(attend, heads, groups, stage);
  auto& [product, unused, after] = deferred_[&call];
  product.prologue = Input::joined;
  product.input = attend.partial;
  product.position = attend.position;
  product.heads = heads;
  product.head_dim = attend.head_dim;
  product.splits = attend.splits;
  product.window = attend.window;
  after = {stage};
  defer(call, 0, Datum::Kind::attended);
}

/// A task to each split of each head of keys, for up to kMostHeads heads of queries.
void Planner::place_heads(const Attend& attend, int heads, int groups, int stage) {
  const int group = heads / groups, parts = (group + kMostHeads - 1) / kMostHeads;
  const size_t head = static_cast<size_t>(attend.head_dim) * size_of(schedule_.dtype);
  // As if a quarter of the cache were full: the length is known only when the step runs.
  const size_t bytes =
      static_cast<size_t>(attend.capacity) * head / 2 / static_cast<size_t>(attend.splits);
  for (int i = 0; i < groups * parts * attend.splits; ++i) {
    const int g = i / (parts * attend.splits), part = i / attend.splits % parts;
    Task task{};
    task.kind = Kind::attend;
    task.attend = attend;
    Attend& own = task.attend;
    own.split = i % attend.splits;
    own.first_head = g * group + part * kMostHeads;
    own.heads = std::min(kMostHeads, group - part * kMostHeads);
    own.writes = part == 0 ? 1 : 0;
    const size_t of_group = static_cast<size_t>(g) * head;
    own.query.offset += static_cast<size_t>(own.first_head) * head;
    own.key.offset += of_group;
    own.value.offset += of_group;
    own.key_cache.offset += of_group * static_cast<size_t>(attend.capacity);
    own.value_cache.offset += of_group * static_cast<size_t>(attend.capacity);
    stages_.place(stages_.least_loaded(), stage, task, bytes);
  }
}

void Planner::take_argmax(const Call& call) {
  const Operand self = operand(call, "self"), output = result(call, 0);
  const Datum datum = flow_.read(self.address, *self.desc);
  const auto rows = rows_of_.find(datum.stage);
  require(rows != rows_of_.end() && rows->second == self.numel() && output.numel() == 1 &&
              self.desc->sizes().back() == self.numel(),
          call, "is not over all rows of a product");
  const int count = stages_.tasks_of(datum.stage);
  const Ref best = room(static_cast<size_t>(count) * sizeof(Best));
  uint64_t offset = best.offset;
  stages_.each_of(datum.stage, [&](Task& task) {
    task.product.best = {best.base, offset};
    offset += sizeof(Best);
  });
  Task task{};
  task.kind = Kind::pick;
  task.pick = {best, {}, count};
  const int stage = stages_.add({datum.stage}, call.request.node);
  write(output, stage, task.pick.output);
  stages_.place(stages_.least_loaded(), stage, task, 0);
}

}  // namespace

Planned make_schedule(const std::vector<Call>& calls, int multiprocessors) {
  try {
    return {Planner(calls, multiprocessors).plan(), {}};
  } catch (const Refused& refused) {
    return {{}, refused.reason};
  }
}

}  // namespace ostinato::cuda::persistent
