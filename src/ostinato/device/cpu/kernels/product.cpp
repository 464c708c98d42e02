#include "ostinato/device/cpu/kernels/product.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernels/convert.h"
#include "ostinato/device/cpu/kernels/index.h"
#include "ostinato/device/cpu/kernels/loops.h"

namespace ostinato::cpu {

Grid cut_grid(int64_t row_units, int64_t column_units, int most) {
  Grid best;
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int columns = most; columns >= 1; --columns) {  // of equals, the one with narrow columns
    const int rows = most / columns;
    if (columns > column_units || rows > row_units) continue;
    const int64_t load =
        part_of(row_units, {0, rows}).end * part_of(column_units, {0, columns}).end;
    if (load >= least) continue;
    least = load;
    best = {rows, columns};
  }
  return best;
}

namespace {

// What a core does, roughly: good enough to choose how many of them a product pays for.
constexpr double kFlopsPerMicrosecond = 80e3, kBytesPerMicrosecond = 16e3;

constexpr int64_t kMostDotRows = 4;
constexpr auto kFloat = static_cast<int64_t>(sizeof(float));

// Asks for a row of an addend: a tile reads too few lines of each for the processor to see it come.
void ask_for(const char* row, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
}

// The same product with its transpose as the result, which lies in memory as before: a single
// column becomes a single row, and the left matrix one that is packed or read by its rows.
void transpose_column(ProductSpec& spec) {
  ProductSpec::Part& part = spec.parts[0];
  const auto even = [](const auto& operand) { return !operand || operand->rows.even(); };
  if (spec.parts.size() > 1 || spec.ends || part.columns != 1 || spec.rows <= 1) return;
  if (!spec.a.rows.even() || !even(part.bias) || !even(spec.residual)) return;
  const auto turn = [](ProductSpec::Operand& operand) {
    operand.column_stride = operand.rows.stride();
    operand.rows = Offsets();
  };
  if (part.bias) turn(*part.bias);
  if (spec.residual) turn(*spec.residual);
  const ProductSpec::Operand row{part.b.index, part.b.batch, Offsets(), part.b.rows.stride()};
  part.b = {spec.a.index, spec.a.batch, Offsets(spec.a.column_stride), spec.a.rows.stride()};
  spec.a = row;
  std::swap(spec.rows, part.columns);
}

class Product final : public Kernel {
 public:
  Product(const device::Request& request, ProductSpec spec);

  size_t scratch_bytes() const override {
    return static_cast<size_t>(worker_bytes_) * static_cast<size_t>(workers_);
  }
  int64_t items(Worker worker) const override;
  void run(const Args& args, Worker worker) const override;

 private:
  // How a part's matrix is read.
  struct Right {
    enum class Kind { packed, packed_in_run, direct, dot };
    Kind kind = Kind::packed;
    TileFunction multiply = nullptr;
    Convert widen = nullptr;  // of a panel to float32, where that is faster than in each tile
    std::shared_ptr<const void> panels;
  };
  // Rows of a matrix of the batch that are multiplied by all panels before the next.
  struct Block {
    int64_t matrix;
    Range rows;
  };
  // Left rows that lie as tiles want them.
  struct Left {
    const void* data;
    int64_t stride;
  };
  // What one worker does with one block.
  struct Job {
    const Args& args;
    const Block& block;
    char* panel;  // scratch
    float* gates;
    Left left;
  };
  // Where an addend's rows are, from a panel's first column on.
  struct AddendRows {
    Addend matrix = {};
    const Offsets* uneven = nullptr;  // null where the matrix' stride says all

    const char* operator[](int64_t row) const {
      const int64_t offset = uneven == nullptr ? row * matrix.row_stride : (*uneven)[row];
      return static_cast<const char*>(matrix.data) + offset;
    }
  };
  // A panel's place in its part.
  struct Panel {
    size_t part;
    int64_t column, columns;
  };

  int64_t element() const { return static_cast<int64_t>(size_of(spec_.dtype)); }
  int64_t tile_rows() const { return kernel_.multiply.rows; }
  int64_t staged_stride() const {
    return kernel_.steps(spec_.inner) * kernel_.depth * static_cast<int64_t>(size_of(kernel_.a));
  }
  void choose_left();
  Right choose_right(const device::Request& request, const ProductSpec::Part& part) const;
  void choose_workers(int threads);
  void choose_scratch();
  void cut_blocks();
  int64_t own_items(Worker worker) const;  // panels of blocks, one block's after the other's

  void run_groups(const Args& args, Range panels, char* scratch) const;
  void clear_rows(const Args& args, Range rows, Range panels) const;
  Job job(const Args& args, const Block& block, char* scratch) const;
  Panel panel(int64_t index) const;
  const char* packed(const Panel& at) const;  // null of a part that is not
  void multiply(const Job& job, int64_t index, const char* following) const;
  void multiply_panel(const Job& job, const Panel& at, const char* following) const;
  Left left_rows(const Args& args, const Block& block, char* staged) const;
  void stage_row(const char* from, char* to) const;
  void set_right(const Job& job, const Panel& at, Tile& tile) const;
  AddendRows addend_rows(const std::optional<ProductSpec::Operand>& operand, const Job& job,
                         int64_t column) const;

  const ir::Node* node_;
  ProductSpec spec_;
  TileKernel kernel_;
  EpilogueFunction epilogue_, gate_;
  bool staged_ = false;        // left rows are copied before they are multiplied
  Convert convert_ = nullptr;  // of the copy, where the elements lie side by side
  std::vector<Right> rights_;  // of each part
  int64_t panels_ = 0;         // of all parts side by side; of those that are gated, of one
  int64_t row_block_ = 0;      // the most rows of a block
  int64_t row_units_ = 0;      // tiles high, over the whole batch
  Grid grid_;
  std::vector<std::vector<Block>> blocks_;  // of each of the grid's rows
  int64_t staged_bytes_ = 0, panel_bytes_ = 0, wide_bytes_ = 0, worker_bytes_ = 0;
};

Product::Product(const device::Request& request, ProductSpec spec)
    : node_(request.node),
      spec_(std::move(spec)),
      kernel_(tile_kernel(spec_.dtype, spec_.inner)),
      epilogue_(epilogue_function(spec_.dtype, spec_.gated ? Activation::none : spec_.activation)),
      gate_(gate_function(spec_.dtype, spec_.activation)) {
  for (const ProductSpec::Part& part : spec_.parts) {
    rights_.push_back(choose_right(request, part));
    if (!spec_.gated || panels_ == 0) panels_ += panel_count(kernel_, part.columns);
  }
  choose_left();
  choose_workers(request.threads);
  choose_scratch();
  cut_blocks();
}

Product::Right Product::choose_right(const device::Request& request,
                                     const ProductSpec::Part& part) const {
  constexpr int64_t kNearEnough = 256 << 10;  // for strided rows to stay in the caches
  const ProductSpec::Operand& b = part.b;
  Right right;
  right.multiply = kernel_.multiply;
  if (kernel_.b == DType::float16 && spec_.rows >= 2 * kFewRows) {
    right.multiply = tile_kernel(DType::float32, spec_.inner).multiply;
    right.widen = find_convert(DType::float16, DType::float32);
  }
  const void* constant = request.constants[b.index];
  if (constant != nullptr && spec_.batch == 1 && part.columns > 0 && spec_.inner > 0) {
    right.panels =
        pack_constant(*request.packed, kernel_, {constant, b.rows.stride(), b.column_stride},
                      spec_.inner, part.columns, request.threads);
    return right;
  }
  const bool near = spec_.rows <= kFewRows || b.rows.stride() * spec_.inner <= kNearEnough;
  if (b.column_stride == element() && kernel_.depth == 1 && near && right.widen == nullptr) {
    right.kind = Right::Kind::direct;
  } else if (b.rows.stride() == element() && spec_.rows <= kMostDotRows) {
    right.kind = Right::Kind::dot;
    right.multiply = kernel_.dot;
  } else {
    right.kind = Right::Kind::packed_in_run;
  }
  return right;
}

void Product::choose_left() {
  const bool adjacent = spec_.a.column_stride == element() || spec_.inner == 1;
  const auto all_are = [this](Right::Kind kind) {
    return std::all_of(rights_.begin(), rights_.end(),
                       [kind](const Right& right) { return right.kind == kind; });
  };
  const bool whole = spec_.inner % kernel_.depth == 0 || all_are(Right::Kind::dot);
  staged_ = !adjacent || !whole || !spec_.a.rows.even() || kernel_.a != spec_.dtype;
  if (adjacent && staged_) convert_ = find_convert(spec_.dtype, kernel_.a);
  // As many rows as stay in the L2 cache beside a panel; all of them where that costs nothing, or
  // where each block would pack all panels again.
  constexpr int64_t kStaged = 512 << 10, kLeast = 96;
  row_block_ = spec_.rows;
  if (staged_) {
    const int64_t fit = kStaged / std::max<int64_t>(1, staged_stride());
    row_block_ = std::min(row_block_, std::max(kLeast, fit / tile_rows() * tile_rows()));
  } else if (all_are(Right::Kind::packed)) {
    // Even blocks: one of few rows would read all panels again for little.
    const int64_t blocks = std::max<int64_t>(1, (spec_.rows + kLeast) / (2 * kLeast));
    row_block_ = round_up((spec_.rows + blocks - 1) / blocks, tile_rows());
  }
}

void Product::choose_workers(int threads) {
  int64_t columns = 0;
  for (const ProductSpec::Part& part : spec_.parts) columns += part.columns;
  const double products = static_cast<double>(spec_.ends ? 1 : spec_.batch) *
                          static_cast<double>(columns) * static_cast<double>(spec_.inner);
  const double flops = 2 * products * static_cast<double>(spec_.rows);
  const double microseconds =
      std::max(flops / kFlopsPerMicrosecond,
               products * static_cast<double>(element()) / kBytesPerMicrosecond);
  const int most = workers_for(microseconds, threads);
  const int64_t units = (spec_.rows + tile_rows() - 1) / tile_rows();
  row_units_ = spec_.ends ? std::min<int64_t>(units, 1) : spec_.batch * units;
  grid_ = cut_grid(row_units_, panels_, most);
  workers_ = grid_.count();
}

void Product::choose_scratch() {
  staged_bytes_ = staged_ ? round_up(row_block_ * staged_stride(), 64) : 0;
  for (const Right& right : rights_) {
    const bool packs =
        right.kind == Right::Kind::packed_in_run || right.kind == Right::Kind::direct;
    if (packs) panel_bytes_ = panels_bytes(kernel_, spec_.inner, kernel_.columns);
    if (right.widen != nullptr) wide_bytes_ = spec_.inner * kernel_.columns * kFloat;
  }
  const int64_t gate_bytes = spec_.gated ? row_block_ * kPanelColumns * kFloat : 0;
  worker_bytes_ = staged_bytes_ + panel_bytes_ + wide_bytes_ + gate_bytes;
}

void Product::cut_blocks() {
  if (spec_.ends || row_units_ == 0) return;
  const int64_t units_each = row_units_ / spec_.batch;
  blocks_.resize(static_cast<size_t>(grid_.rows));
  for (int i = 0; i < grid_.rows; ++i) {
    const Range units = part_of(row_units_, {i, grid_.rows});
    for (int64_t unit = units.begin; unit < units.end;) {
      const int64_t first = unit % units_each;
      const int64_t last = std::min(units_each, first + units.end - unit);
      const int64_t end = std::min(last * tile_rows(), spec_.rows);
      for (int64_t row = first * tile_rows(); row < end; row += row_block_) {
        const Range rows{row, std::min(row + row_block_, end)};
        blocks_[static_cast<size_t>(i)].push_back({unit / units_each, rows});
      }
      unit += last - first;
    }
  }
}

int64_t Product::items(Worker worker) const {
  // With so few rows all wait for memory: who is done early leaves the others more of it.
  return spec_.ends || spec_.rows <= kFewRows ? 0 : own_items(worker);
}

int64_t Product::own_items(Worker worker) const {
  if (blocks_.empty()) return 0;
  const Range panels = part_of(panels_, grid_.column(worker));
  const auto& blocks = blocks_[static_cast<size_t>(grid_.row(worker).index)];
  return static_cast<int64_t>(blocks.size()) * (panels.end - panels.begin);
}

void Product::run(const Args& args, Worker worker) const {
  if (panels_ == 0 || row_units_ == 0) return;
  char* scratch = static_cast<char*>(args.scratch) + worker.index * worker_bytes_;
  if (spec_.ends) return run_groups(args, part_of(panels_, grid_.column(worker)), scratch);
  const auto& blocks = blocks_[static_cast<size_t>(grid_.row(worker).index)];
  std::optional<Job> open;
  work_off(args, worker, own_items(worker), grid_.mates(worker), [&](int owner, int64_t item) {
    const Range panels = part_of(panels_, grid_.column({owner, workers_}));
    const int64_t each = panels.end - panels.begin;
    const Block& block = blocks[static_cast<size_t>(item / each)];
    if (!open || &open->block != &block) open.emplace(job(args, block, scratch));
    const int64_t index = panels.begin + item % each;
    // The owner goes on with the next one, of this block or another; whoever helps, with the last.
    const int64_t next = owner != worker.index ? index - 1 : index + 1;
    const bool wraps = next < panels.begin || next >= panels.end;
    multiply(*open, index, wraps ? nullptr : packed(panel(next)));
  });
}

Product::Job Product::job(const Args& args, const Block& block, char* scratch) const {
  char* panel = scratch + staged_bytes_;
  float* gates = reinterpret_cast<float*>(panel + panel_bytes_ + wide_bytes_);
  return {args, block, panel, gates, left_rows(args, block, scratch)};
}

// Which rows a matrix has is known only here, so workers share columns, not rows.
void Product::run_groups(const Args& args, Range panels, char* scratch) const {
  const char* ends = static_cast<const char*>(args.inputs[*spec_.ends]);
  const auto end_bytes = static_cast<int64_t>(size_of(spec_.ends_dtype));
  const IndexReader index(spec_.ends_dtype);
  int64_t start = 0;
  for (int64_t matrix = 0; matrix < spec_.batch; ++matrix) {
    const int64_t end = index.read(ends + matrix * end_bytes);
    if (end < start || end > spec_.rows) {
      args.fault->store(node_, std::memory_order_relaxed);
      break;
    }
    for (int64_t row = start; row < end; row += row_block_) {
      const Block block{matrix, {row, std::min(row + row_block_, end)}};
      const Job whole = job(args, block, scratch);
      for (int64_t p = panels.begin; p < panels.end; ++p) {
        multiply(whole, p, p + 1 < panels.end ? packed(panel(p + 1)) : nullptr);
      }
    }
    start = end;
  }
  clear_rows(args, {start, spec_.rows}, panels);
}

void Product::clear_rows(const Args& args, Range rows, Range panels) const {
  const int64_t columns = spec_.parts[0].columns;
  const int64_t begin = panel_columns(kernel_, panels.begin, columns).begin;
  const int64_t end = panel_columns(kernel_, panels.end - 1, columns).end;
  char* y = static_cast<char*>(args.outputs[0]);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    std::memset(y + (row * columns + begin) * element(), 0,
                static_cast<size_t>((end - begin) * element()));
  }
}

// @param following what is read after this panel, or null
void Product::multiply(const Job& job, int64_t index, const char* following) const {
  Panel at = panel(index);
  if (spec_.gated) {
    const Panel other{at.part + 1, at.column, at.columns};
    multiply_panel(job, at, packed(other));
    at = other;
  }
  multiply_panel(job, at, following);
}

const char* Product::packed(const Panel& at) const {
  const Right& right = rights_[at.part];
  if (right.kind != Right::Kind::packed) return nullptr;
  return static_cast<const char*>(right.panels.get()) +
         panels_bytes(kernel_, spec_.inner, at.column);
}

Product::Panel Product::panel(int64_t index) const {
  size_t part = 0;
  while (index >= panel_count(kernel_, spec_.parts[part].columns)) {
    index -= panel_count(kernel_, spec_.parts[part].columns);
    ++part;
  }
  const Range columns = panel_columns(kernel_, index, spec_.parts[part].columns);
  return {part, columns.begin, columns.end - columns.begin};
}

void Product::multiply_panel(const Job& job, const Panel& at, const char* following) const {
  const ProductSpec::Part& part = spec_.parts[at.part];
  const int64_t first = job.block.rows.begin;
  const bool makes_gates = spec_.gated && at.part == 0;
  Tile tile{};
  tile.a = job.left.data;
  tile.a_stride = job.left.stride;
  tile.rows = job.block.rows.end - first;
  tile.columns = at.columns;
  tile.ahead = following;
  set_right(job, at, tile);
  // All that tiles share is read before: they leave nothing else in the L1 cache. The epilogue is
  // written word by word and never copied: a copy in vectors of what was written in words waits
  // until all stores before it, those of the tile's sums too, are in that cache.
  const AddendRows bias = addend_rows(part.bias, job, at.column);
  const AddendRows residual = addend_rows(spec_.residual, job, at.column);
  const bool even = bias.uneven == nullptr && residual.uneven == nullptr;
  Epilogue epilogue{.columns = at.columns, .alpha = spec_.alpha, .beta = spec_.beta};
  epilogue.bias = bias.matrix;
  epilogue.residual = residual.matrix;
  const int64_t y_stride = makes_gates ? kPanelColumns * kFloat : part.columns * element();
  epilogue.y_stride = y_stride;
  char* y = reinterpret_cast<char*>(job.gates);
  if (!makes_gates) {
    const int64_t above = spec_.ends ? 0 : job.block.matrix * spec_.rows;
    y = static_cast<char*>(job.args.outputs[part.output]) + (above + first) * y_stride +
        at.column * element();
  }
  const float* const gates = spec_.gated && !makes_gates ? job.gates : nullptr;
  const int64_t most_rows = tile_rows(), row_bytes = at.columns * element();
  const EpilogueFunction finish = makes_gates ? gate_ : epilogue_;
  for_each_tile(rights_[at.part].multiply, tile, [&](const float* c, int64_t row, int64_t rows) {
    const int64_t end = row + rows;
    epilogue.c = c;
    epilogue.rows = even ? rows : 1;
    for (; row < end; row += epilogue.rows) {
      epilogue.y = y + row * y_stride;
      if (gates != nullptr) epilogue.gate = gates + row * kPanelColumns;
      epilogue.bias.data = bias[first + row];
      epilogue.residual.data = residual[first + row];
      finish(epilogue);
      epilogue.c += epilogue.rows * kPanelColumns;
    }
    if (residual.matrix.data == nullptr) return;
    const int64_t asked = std::min(end + most_rows, tile.rows);
    for (int64_t i = end; i < asked; ++i) ask_for(residual[first + i], row_bytes);
  });
}

Product::Left Product::left_rows(const Args& args, const Block& block, char* staged) const {
  const char* a = static_cast<const char*>(args.inputs[spec_.a.index]);
  a += spec_.a.batch[block.matrix];
  if (!staged_) return {a + spec_.a.rows[block.rows.begin], spec_.a.rows.stride()};
  const int64_t stride = staged_stride();
  for (int64_t row = block.rows.begin; row < block.rows.end; ++row) {
    stage_row(a + spec_.a.rows[row], staged + (row - block.rows.begin) * stride);
  }
  return {staged, stride};
}

void Product::stage_row(const char* from, char* to) const {
  if (convert_ != nullptr) {
    convert_(from, to, spec_.inner);
  } else if (spec_.dtype == DType::float16) {
    float* row = reinterpret_cast<float*>(to);
    for (int64_t i = 0; i < spec_.inner; ++i) {
      row[i] = to_float(*reinterpret_cast<const float16*>(from + i * spec_.a.column_stride));
    }
  } else {
    gather(from, spec_.a.column_stride, static_cast<size_t>(element()), to, spec_.inner);
  }
  const int64_t bytes = spec_.inner * static_cast<int64_t>(size_of(kernel_.a));
  const int64_t rest = staged_stride() - bytes;
  if (rest > 0) std::memset(to + bytes, 0, static_cast<size_t>(rest));
}

// Points the tile at a panel. Expects `columns` to be the panel's true width, and rounds it up.
void Product::set_right(const Job& job, const Panel& at, Tile& tile) const {
  const Right& right = rights_[at.part];
  const ProductSpec::Operand& operand = spec_.parts[at.part].b;
  const char* b = static_cast<const char*>(job.args.inputs[operand.index]) +
                  operand.batch[job.block.matrix] + at.column * operand.column_stride;
  tile.steps = kernel_.steps(spec_.inner);
  if (right.kind == Right::Kind::dot) {
    tile.steps = spec_.inner;
    tile.b = b;
    tile.b_stride = operand.column_stride;
    return;
  }
  tile.columns = round_up(at.columns, kPanelGroup);
  tile.b_stride = tile.columns * unit_bytes(kernel_);
  if (right.kind == Right::Kind::packed) {
    tile.b = packed(at);
  } else if (right.kind == Right::Kind::direct && tile.columns == at.columns) {
    tile.b = b;
    tile.b_stride = operand.rows.stride();
  } else {
    pack_panel(kernel_, {b, operand.rows.stride(), operand.column_stride}, spec_.inner, at.columns,
               job.panel);
    tile.b = job.panel;
  }
  if (right.widen != nullptr) {
    void* wide = job.panel + panel_bytes_;
    right.widen(tile.b, wide, spec_.inner * tile.columns);
    tile.b = wide;
    tile.b_stride = tile.columns * kFloat;
  }
}

Product::AddendRows Product::addend_rows(const std::optional<ProductSpec::Operand>& operand,
                                         const Job& job, int64_t column) const {
  if (!operand) return {};
  const char* data = static_cast<const char*>(job.args.inputs[operand->index]);
  data += operand->batch[job.block.matrix] + column * operand->column_stride;
  return {{data, operand->rows.stride(), operand->column_stride},
          operand->rows.even() ? nullptr : &operand->rows};
}

}  // namespace

std::unique_ptr<Kernel> make_product(const device::Request& request, ProductSpec spec) {
  transpose_column(spec);
  return std::make_unique<Product>(request, std::move(spec));
}

}  // namespace ostinato::cpu
