#include "ostinato/ops/fused_elementwise.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "ostinato/device/cpu/kernels/elementwise.h"
#include "ostinato/device/cpu/kernels/fold.h"
#include "ostinato/device/cpu/kernels/kernels.h"

namespace ostinato::cpu {

namespace {

constexpr size_t kMaxOperands = Loops::kMaxOperands;
constexpr size_t kMaxCalls = 64;
constexpr int64_t kTile = 2048;          // elements that every call computes at a time, at most
constexpr size_t kTileBytes = 16 << 10;  // of all values between calls: they stay in the L1 cache
constexpr int64_t kGrain = 64;           // elements: no two workers write one cache line
constexpr int64_t kLongRow = 512;        // elements: a tile keeps within such a row

/// The calls of a fused one, each by the kernel that it has alone, a tile at a time: the same
/// roundings, and memory is read and written once.
class Program {
 public:
  /// Nullopt when a call has no kernel for rows, or a value is smaller than the whole.
  /// @param calls of the program, from the first, that are elementwise
  static std::unique_ptr<Program> make(const device::Request& request, ir::Graph graph,
                                       size_t calls);

  int64_t count() const { return loops_.count(); }
  DType result() const { return result_; }
  double microseconds() const { return microseconds_; }

  /// Computes elements in row-major order, from one position on.
  class Run {
   public:
    Run(const Program& program, const Args& args, int64_t position)
        : program_(program), args_(args), column_(position) {
      if (program.loops_.rank > 1 && program.count() > 0) {
        rows_.emplace(program.loops_, position / program.loops_.inner());
        column_ = position % program.loops_.inner();
      }
      for (size_t i = 0; i < program.steps_.size(); ++i) {
        values_[program.operands_ + i] = memory_ + program.steps_[i].offset;
      }
    }

    void operator()(void* output, int64_t count) {
      char* target = static_cast<char*>(output);
      while (count > 0) {
        int64_t tile = std::min(count, program_.tile_);
        if (program_.by_row_) tile = std::min(tile, program_.loops_.inner() - column_);
        fetch(tile);
        compute(target, tile);
        target += tile * program_.result_size_;
        count -= tile;
      }
    }

   private:
    void fetch(int64_t count) {
      for (size_t k = 0; k < program_.operands_; ++k) {
        const Source& source = program_.sources_[k];
        values_[k] = source.staged ? memory_ + source.offset : here(k);
      }
      if (program_.stages_) {
        stage(count);
      } else {
        column_ += count;
        while (rows_ && column_ >= program_.loops_.inner()) next_row();
      }
    }

    void stage(int64_t count) {
      const Loops& loops = program_.loops_;
      for (int64_t done = 0; done < count;) {
        const int64_t part = std::min(count - done, loops.inner() - column_);
        for (size_t k = 0; k < program_.operands_; ++k) {
          const Source& source = program_.sources_[k];
          if (!source.staged) continue;
          const size_t place = source.offset + static_cast<size_t>(done) * source.size;
          gather(here(k), loops.inner_strides()[k], source.size, memory_ + place, part);
        }
        done += part;
        column_ += part;
        if (rows_ && column_ == loops.inner()) next_row();
      }
    }

    void next_row() {
      column_ -= program_.loops_.inner();
      rows_->next();
    }

    const void* here(size_t k) const {
      const int64_t row = rows_ ? rows_->offset(k) : 0;
      return at(args_.inputs[k], row + column_ * program_.loops_.inner_strides()[k]);
    }

    void compute(void* target, int64_t count) {
      for (const Step& step : program_.steps_) {
        const void* inputs[Elementwise::kMaxInputs];
        for (size_t k = 0; k < step.arity; ++k) inputs[k] = values_[step.inputs[k]];
        void* output = step.last ? target : memory_ + step.offset;
        if (step.function != nullptr) {
          step.function(*step.params, inputs, output, count);
        } else if (step.convert != nullptr) {
          step.convert(inputs[0], output, count);
        } else {
          static_cast<const RowKernel&>(*step.kernel).run_row(args_, inputs, output, count);
        }
      }
    }

    const Program& program_;
    const Args& args_;
    std::optional<RowCursor> rows_;  // where there are several
    int64_t column_;
    const void* values_[kMaxOperands + kMaxCalls];
    alignas(64) char memory_[kTileBytes];
  };

 private:
  struct Source {
    size_t size = 4;      // of an element
    bool staged = false;  // copied to a tile first: neither dense nor one element for all
    size_t offset = 0;    // of its tile
  };
  // One call: a row function, a cast, or else whatever the kernel does.
  struct Step {
    RowFunction function = nullptr;
    const Params* params = nullptr;
    Convert convert = nullptr;
    std::unique_ptr<Kernel> kernel;  // a RowKernel
    size_t arity = 0;
    std::array<size_t, Elementwise::kMaxInputs> inputs{};  // operands, then results of steps
    size_t offset = 0;                                     // of its tile
    bool last = false;                                     // it writes to the output
  };

  bool place_sources(const device::Request& request, std::span<const int64_t> sizes);
  bool is_dense(size_t k) const;
  bool add_step(const device::Request& request, const ir::Node& call);
  std::optional<device::TensorDesc> desc_of(const device::Request& request, size_t value,
                                            const ir::Value* in_graph) const;
  bool place_tiles();
  void estimate(const device::Request& request);

  ir::Graph graph_;  // whose calls the kernels name in a fault
  Loops loops_;
  size_t operands_ = 0;
  std::array<Source, kMaxOperands> sources_;
  std::vector<Step> steps_;
  std::unordered_map<const ir::Value*, size_t> indices_;  // of operands and results, among values
  std::vector<DType> dtypes_;                             // by that index
  bool by_row_ = true, stages_ = false;
  int64_t tile_ = kTile;
  DType result_ = DType::float32;
  int64_t result_size_ = 4;
  double microseconds_ = 0;
};

std::unique_ptr<Program> Program::make(const device::Request& request, ir::Graph graph,
                                       size_t calls) {
  auto program = std::make_unique<Program>();
  program->graph_ = std::move(graph);
  if (request.inputs.size() > kMaxOperands || calls == 0 || calls > kMaxCalls) return nullptr;
  const auto last = std::next(program->graph_.nodes().begin(), static_cast<long>(calls) - 1);
  const ir::Value* result = (*last)->results[0];
  if (!program->place_sources(request, to_integers(result->shape()))) return nullptr;
  for (auto it = program->graph_.nodes().begin();; ++it) {
    ir::Node& call = **it;
    call.source = request.node->source;
    if (call.results[0]->shape() != result->shape() || !program->add_step(request, call)) {
      return nullptr;
    }
    if (it == last) break;
  }
  if (!program->place_tiles()) return nullptr;
  program->result_ = result->dtype();
  program->result_size_ = static_cast<int64_t>(size_of(result->dtype()));
  program->estimate(request);
  return program;
}

bool Program::place_sources(const device::Request& request, std::span<const int64_t> sizes) {
  std::vector<Strides> strides;
  operands_ = request.inputs.size();
  for (size_t k = 0; k < operands_; ++k) {
    strides.push_back(broadcast_strides(*request.inputs[k], sizes));
    sources_[k].size = size_of(request.inputs[k]->dtype);
    indices_[graph_.inputs()[k]] = k;
    dtypes_.push_back(request.inputs[k]->dtype);
  }
  const std::optional<Loops> loops = make_loops(sizes, strides);
  if (!loops) return false;
  loops_ = *loops;
  by_row_ = loops_.rank == 1 || loops_.inner() >= kLongRow;
  for (size_t k = 0; k < operands_; ++k) {
    const int64_t inner = loops_.inner_strides()[k];
    const bool uniform = std::all_of(strides[k].begin(), strides[k].end(),
                                     [](int64_t stride) { return stride == 0; });
    const bool direct = by_row_ ? inner == 0 || inner == static_cast<int64_t>(sources_[k].size)
                                : uniform || is_dense(k);
    sources_[k].staged = !direct;
  }
  return true;
}

// Whether an operand's elements lie in the order in which the loops walk, without gaps.
bool Program::is_dense(size_t k) const {
  auto stride = static_cast<int64_t>(sources_[k].size);
  for (size_t d = loops_.rank; d-- > 0; stride *= loops_.sizes[d]) {
    if (loops_.strides[d][k] != stride) return false;
  }
  return true;
}

// What a call's kernel is told of an operand: only that it is a row, and whether of one element.
std::optional<device::TensorDesc> Program::desc_of(const device::Request& request, size_t value,
                                                   const ir::Value* in_graph) const {
  if (in_graph->rank() == 0 && value < operands_) return request.inputs[value];
  const bool one = value < operands_ && !sources_[value].staged && loops_.inner() > 1 &&
                   loops_.inner_strides()[value] == 0;
  return device::TensorDesc{in_graph->dtype(), {{kTile}, {one ? 0 : 1}, 0}};
}

bool Program::add_step(const device::Request& request, const ir::Node& call) {
  Step step;
  step.arity = call.operands.size();
  if (step.arity > Elementwise::kMaxInputs) return false;
  device::Request row;
  row.node = &call;
  row.packed = request.packed;
  row.constants.resize(step.arity);
  row.outputs.push_back({call.results[0]->dtype(), ir::Layout::contiguous({kTile})});
  for (size_t k = 0; k < step.arity; ++k) {
    step.inputs[k] = indices_.at(call.operands[k]);
    row.inputs.push_back(desc_of(request, step.inputs[k], call.operands[k]));
  }
  const std::string_view name = call.op->name;
  if (name == "aten._to_copy" || name == "aten.clone" || name == "aten.lift_fresh_copy") {
    if (call.operands[0]->shape() != call.results[0]->shape()) return false;
    step.convert = find_convert(call.operands[0]->dtype(), call.results[0]->dtype());
    // It takes adjacent elements only.
    if (step.inputs[0] < operands_ && row.inputs[0]->strides() == std::vector<int64_t>{0}) {
      sources_[step.inputs[0]].staged = true;
    }
  } else {
    const Factory make = kernels().find(name, device::Tier::fast);
    if (make != nullptr) step.kernel = make(row);
    const auto* kernel = dynamic_cast<const RowKernel*>(step.kernel.get());
    if (kernel == nullptr) return false;
    if (const std::optional<RowCall> call_of_row = kernel->row_call()) {
      step.function = call_of_row->function;
      step.params = call_of_row->params;
      const auto inputs = step.inputs;
      for (size_t k = 0; k < step.arity; ++k) step.inputs[k] = inputs[call_of_row->operands[k]];
    }
  }
  indices_[call.results[0]] = dtypes_.size();
  dtypes_.push_back(call.results[0]->dtype());
  steps_.push_back(std::move(step));
  return true;
}

// Tiles for what is staged and for what steps pass on, each again for others once it was read last.
bool Program::place_tiles() {
  size_t bytes = 0;  // of one element of each tile
  std::map<DType, std::vector<size_t>> free;
  const auto take = [&](DType dtype) {
    std::vector<size_t>& left = free[dtype];
    size_t offset = bytes;
    if (left.empty()) {
      bytes += size_of(dtype);
    } else {
      offset = left.back();
      left.pop_back();
    }
    return offset;
  };
  std::vector<size_t> last(dtypes_.size(), 0);
  for (size_t i = 0; i < steps_.size(); ++i) {
    for (size_t k = 0; k < steps_[i].arity; ++k) last[steps_[i].inputs[k]] = i;
  }
  for (size_t k = 0; k < operands_; ++k) {
    if (!sources_[k].staged) continue;
    stages_ = true;
    sources_[k].offset = take(dtypes_[k]);
  }
  for (size_t i = 0; i < steps_.size(); ++i) {
    Step& step = steps_[i];
    std::vector<size_t> read(step.inputs.begin(),
                             step.inputs.begin() + static_cast<long>(step.arity));
    std::sort(read.begin(), read.end());
    read.erase(std::unique(read.begin(), read.end()), read.end());
    for (const size_t value : read) {
      if (last[value] != i || (value < operands_ && !sources_[value].staged)) continue;
      const size_t offset =
          value < operands_ ? sources_[value].offset : steps_[value - operands_].offset;
      free[dtypes_[value]].push_back(offset);
    }
    step.last = i + 1 == steps_.size();
    if (!step.last) step.offset = take(dtypes_[operands_ + i]);
  }
  tile_ = std::min<int64_t>(kTile, static_cast<int64_t>(kTileBytes / std::max<size_t>(bytes, 1)));
  tile_ = tile_ / kGrain * kGrain;
  for (size_t k = 0; k < operands_; ++k) sources_[k].offset *= static_cast<size_t>(tile_);
  for (Step& step : steps_) step.offset *= static_cast<size_t>(tile_);
  return tile_ > 0;
}

// From memory about as fast as one thread reads it, and between calls as fast as the L1 cache.
void Program::estimate(const device::Request& request) {
  constexpr double kMemory = 10e3, kCache = 40e3;  // bytes a microsecond
  double outside = static_cast<double>(request.outputs[0].bytes()), inside = 0;
  for (const auto& input : request.inputs) outside += static_cast<double>(input->bytes());
  for (const DType dtype : dtypes_) inside += static_cast<double>(size_of(dtype));
  microseconds_ = outside / kMemory + inside * static_cast<double>(count()) / kCache;
}

class FusedElementwiseKernel final : public Kernel {
 public:
  FusedElementwiseKernel(const device::Request& request, std::unique_ptr<Program> program)
      : program_(std::move(program)),
        element_size_(static_cast<int64_t>(size_of(request.outputs[0].dtype))) {
    workers_ = workers_for(program_->microseconds(), request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const Range range = part_of(program_->count(), worker, kGrain);
    if (range.begin == range.end) return;
    Program::Run(*program_, args, range.begin)(at(args.outputs[0], range.begin * element_size_),
                                               range.end - range.begin);
  }

 private:
  std::unique_ptr<Program> program_;
  int64_t element_size_;
};

/// What the program gives is folded while it is in the cache: short groups several at a time, long
/// ones piece by piece.
class FusedReductionKernel final : public Kernel {
 public:
  FusedReductionKernel(const device::Request& request, std::unique_ptr<Program> program,
                       const Reduction& reduction, int64_t length)
      : program_(std::move(program)), reduction_(reduction), length_(length) {
    const DType output = request.outputs[0].dtype;
    const DType folded = fold_dtype(program_->result(), output);
    fold_ = fold_functions(reduction.fold, folded);
    real_ = is_floating(folded);
    if (folded != program_->result()) convert_ = find_convert(program_->result(), folded);
    put_ = find_convert(real_ ? DType::float32 : DType::int64, output);
    element_size_ = static_cast<int64_t>(size_of(folded));
    output_size_ = static_cast<int64_t>(size_of(output));
    groups_ = request.outputs[0].numel();
    workers_ = workers_for(program_->microseconds(), request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const Range range = part_of(groups_, worker);
    if (range.begin == range.end) return;
    Program::Run elements(*program_, args, range.begin * length_);
    char* y = at(args.outputs[0], range.begin * output_size_);
    const int64_t together = length_ == 0 ? 1 : std::max<int64_t>(Groups::kChunk / length_, 1);
    for (int64_t group = range.begin; group < range.end;) {
      const int64_t groups = std::min(together, range.end - group);
      Folded folded = fold_.start;
      int64_t left = groups * length_;
      do {
        const int64_t piece = std::min(left, Groups::kChunk);
        alignas(64) char raw[Groups::kChunk * sizeof(int64_t)];
        alignas(64) char converted[Groups::kChunk * sizeof(int64_t)];
        elements(raw, piece);
        if (convert_ != nullptr) convert_(raw, converted, piece);
        const char* x = convert_ != nullptr ? converted : raw;
        left -= piece;
        if (length_ > Groups::kChunk) {
          fold_.row(x, piece, reduction_.parameter, folded);
          continue;
        }
        for (int64_t i = 0; i < groups; ++i) {
          folded = fold_.start;
          fold_.row(x + i * length_ * element_size_, length_, reduction_.parameter, folded);
          put(folded, y);
          y += output_size_;
        }
      } while (left > 0);
      if (length_ > Groups::kChunk) {
        put(folded, y);
        y += output_size_;
      }
      group += groups;
    }
  }

 private:
  void put(const Folded& folded, char* y) const {
    if (!real_) return put_(&folded.integer, y, 1);
    const float value = reduction_.finish(folded.real);
    put_(&value, y, 1);
  }

  std::unique_ptr<Program> program_;
  Reduction reduction_;
  FoldFunctions fold_;
  int64_t length_, groups_ = 0;
  bool real_ = true;
  Convert convert_ = nullptr, put_ = nullptr;
  int64_t element_size_ = 4, output_size_ = 4;
};

std::unique_ptr<Kernel> make_fused_elementwise(const device::Request& request) {
  ir::Graph graph = ops::program_of(*request.node);
  const size_t calls = graph.nodes().size();
  auto program = Program::make(request, std::move(graph), calls);
  if (program == nullptr) return nullptr;
  return std::make_unique<FusedElementwiseKernel>(request, std::move(program));
}

std::unique_ptr<Kernel> make_fused_reduction(const device::Request& request) {
  ir::Graph graph = ops::program_of(*request.node);
  const std::string_view name = graph.nodes().back()->op->name;
  const int64_t elements = numel(graph.nodes().back()->operands[0]->shape()).value();
  const int64_t groups = request.outputs[0].numel(), length = groups > 0 ? elements / groups : 0;
  if (request.outputs[0].dtype == DType::boolean) return nullptr;
  Reduction reduction;
  if (name == "aten.amax") reduction.fold = Fold::max;
  if (name == "aten.amin") reduction.fold = Fold::min;
  if (name == "aten.mean.dim") reduction.scale = 1.0 / static_cast<double>(length);
  const size_t calls = graph.nodes().size() - 1;
  auto program = Program::make(request, std::move(graph), calls);
  if (program == nullptr) return nullptr;
  return std::make_unique<FusedReductionKernel>(request, std::move(program), reduction, length);
}

}  // namespace

void add_fused_elementwise(KernelTable& table) {
  table.add("fused_elementwise", device::Tier::fast, make_fused_elementwise);
  table.add("fused_reduction", device::Tier::fast, make_fused_reduction);
}

}  // namespace ostinato::cpu
