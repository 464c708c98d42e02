#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ostinato/base/dtype.h"
#include "ostinato/base/memory.h"
#include "ostinato/device/cpu/kernels/convert.h"
#include "ostinato/device/cpu/kernels/kernels.h"
#include "ostinato/device/cpu/kernels/loops.h"
#include "ostinato/device/cpu/kernels/product.h"

namespace ostinato::cpu {

namespace {

// One image dim.
struct Axis {
  int64_t out = 1, kernel = 1;
  std::vector<int64_t> source{0};  // by kernel and output index: bytes into the image, or -1

  const int64_t* of_kernel(int64_t index) const { return source.data() + index * out; }
};

struct AxisSizes {
  int64_t in, out, kernel, stride, padding, dilation;
  bool transposed;
};

Axis make_axis(const AxisSizes& sizes, int64_t bytes) {
  Axis axis{sizes.out, sizes.kernel, {}};
  for (int64_t k = 0; k < sizes.kernel; ++k) {
    for (int64_t o = 0; o < sizes.out; ++o) {
      int64_t i = o * sizes.stride - sizes.padding + k * sizes.dilation;
      bool inside = true;
      if (sizes.transposed) {  // the other way: the input that scatters to this output
        const int64_t scattered = o + sizes.padding - k * sizes.dilation;
        inside = scattered >= 0 && scattered % sizes.stride == 0;
        i = scattered / sizes.stride;
      }
      inside = inside && i >= 0 && i < sizes.in;
      axis.source.push_back(inside ? i * bytes : -1);
    }
  }
  return axis;
}

struct ConvolutionSpec {
  DType dtype = DType::float32;
  int64_t images = 0, groups = 1, channels = 0, outputs = 0;  // channels and outputs of one group
  std::array<Axis, 3> axes;                                   // depth, height, width
  int64_t image_stride = 0, channel_stride = 0;               // bytes, of the input
  Offsets weight_groups, weight_rows, weight_inner;           // bytes, of the weight
  std::optional<int64_t> bias_stride;                         // bytes

  int64_t positions() const { return axes[0].out * axes[1].out * axes[2].out; }
  int64_t inner() const { return channels * axes[0].kernel * axes[1].kernel * axes[2].kernel; }
};

// For each image and group the weight (outputs × inner) times the image's patches as columns (inner
// × positions), which are packed a panel at a time and never all there at once.
class Convolution final : public Kernel {
 public:
  Convolution(const device::Request& request, ConvolutionSpec spec);

  size_t scratch_bytes() const override {
    return static_cast<size_t>(worker_bytes_) * static_cast<size_t>(workers_);
  }
  void run(const Args& args, Worker worker) const override;

 private:
  struct Job {
    const Args& args;
    int64_t image, group;
    Range rows;
    const char* weight;  // of the first row
    char* panel;
  };

  int64_t element() const { return static_cast<int64_t>(size_of(spec_.dtype)); }
  int64_t tile_rows() const { return kernel_.multiply.rows; }
  int64_t left_stride() const {
    return kernel_.steps(spec_.inner()) * kernel_.depth * static_cast<int64_t>(size_of(kernel_.a));
  }
  void choose_weight(const device::Request& request);
  void arrange(const char* weight, Range rows, char* to) const;
  const char* weight_rows(const Args& args, int64_t group, Range rows, char* scratch) const;
  void multiply(const Job& job, Range positions) const;
  void pack_patches(const Job& job, Range positions, int64_t width) const;
  template <typename T>
  void read_patches(const char* image, int64_t inner, Range positions, T* to) const;

  ConvolutionSpec spec_;
  TileKernel kernel_;
  EpilogueFunction epilogue_;
  Convert widen_;
  bool in_place_ = false;                 // the weight lies as tiles want it
  std::shared_ptr<const void> arranged_;  // or has been laid so, being a constant
  int64_t position_units_ = 0, row_units_ = 0;
  Grid grid_;
  int64_t panel_bytes_ = 0, worker_bytes_ = 0;
};

std::span<const uint8_t> elements_of(const char* data, const device::TensorDesc& desc) {
  int64_t last = 0;
  for (size_t d = 0; d < desc.sizes().size(); ++d) {
    last += (desc.sizes()[d] - 1) * desc.strides()[d];
  }
  return {reinterpret_cast<const uint8_t*>(data),
          static_cast<size_t>(last + 1) * size_of(desc.dtype)};
}

// Half precision is widened as patches are packed.
DType computed_in(DType dtype) { return dtype == DType::float16 ? DType::float32 : dtype; }

Convolution::Convolution(const device::Request& request, ConvolutionSpec spec)
    : spec_(std::move(spec)),
      kernel_(tile_kernel(computed_in(spec_.dtype))),
      epilogue_(epilogue_function(spec_.dtype, Activation::none)),
      widen_(find_convert(spec_.dtype, kernel_.a)) {
  constexpr double kFlopsPerMicrosecond = 60e3;
  const double flops = 2.0 * static_cast<double>(spec_.images * spec_.groups * spec_.outputs) *
                       static_cast<double>(spec_.positions()) * static_cast<double>(spec_.inner());
  position_units_ = (spec_.positions() + kPanelGroup - 1) / kPanelGroup;
  row_units_ = (spec_.outputs + tile_rows() - 1) / tile_rows();
  grid_ = cut_grid(row_units_, spec_.images * spec_.groups * position_units_,
                   workers_for(flops / kFlopsPerMicrosecond, request.threads));
  workers_ = grid_.count();
  choose_weight(request);
  panel_bytes_ = panels_bytes(kernel_, spec_.inner(), kPanelColumns);
  const bool arranges = !in_place_ && arranged_ == nullptr;
  worker_bytes_ = panel_bytes_ + (arranges ? round_up(spec_.outputs * left_stride(), 64) : 0);
}

void Convolution::choose_weight(const device::Request& request) {
  in_place_ = kernel_.a == spec_.dtype && spec_.weight_inner.even() && spec_.weight_rows.even() &&
              (spec_.weight_inner.stride() == element() || spec_.inner() == 1) &&
              spec_.inner() % kernel_.depth == 0;
  const char* constant = static_cast<const char*>(request.constants[1]);
  if (in_place_ || constant == nullptr || spec_.inner() == 0 || spec_.outputs == 0) return;
  const int64_t group_bytes = spec_.outputs * left_stride();
  const size_t bytes = static_cast<size_t>(spec_.groups * group_bytes);
  const device::TensorDesc& desc = *request.inputs[1];
  constexpr int kLayout = 1;  // of what `arrange` makes, on disk too: rises with every change of it
  const std::string format =
      fmt::format("convolution {} {} {} by {} groups {}", kLayout, name_of(spec_.dtype),
                  fmt::join(desc.sizes(), "x"), fmt::join(desc.strides(), ","), spec_.groups);
  arranged_ = request.packed->get(elements_of(constant, desc), format, bytes, request.threads, [&] {
    std::shared_ptr<void> all = allocate_packed(bytes);
    for (int64_t g = 0; g < spec_.groups; ++g) {
      arrange(constant + spec_.weight_groups[g], {0, spec_.outputs},
              static_cast<char*>(all.get()) + g * group_bytes);
    }
    return all;
  });
}

// Copies rows of a group's weight as tiles want them.
void Convolution::arrange(const char* weight, Range rows, char* to) const {
  const int64_t stride = left_stride();
  for (int64_t row = rows.begin; row < rows.end; ++row, to += stride) {
    std::memset(to, 0, static_cast<size_t>(stride));
    const char* from = weight + spec_.weight_rows[row];
    for (int64_t i = 0; i < spec_.inner(); ++i) {
      widen_(from + spec_.weight_inner[i], to + i * static_cast<int64_t>(size_of(kernel_.a)), 1);
    }
  }
}

const char* Convolution::weight_rows(const Args& args, int64_t group, Range rows,
                                     char* scratch) const {
  if (arranged_ != nullptr) {
    return static_cast<const char*>(arranged_.get()) +
           (group * spec_.outputs + rows.begin) * left_stride();
  }
  const char* weight = static_cast<const char*>(args.inputs[1]) + spec_.weight_groups[group];
  if (in_place_) return weight + spec_.weight_rows[rows.begin];
  arrange(weight, rows, scratch);
  return scratch;
}

void Convolution::run(const Args& args, Worker worker) const {
  char* scratch = static_cast<char*>(args.scratch) + worker.index * worker_bytes_;
  const Range tiles = part_of(row_units_, grid_.row(worker));
  const Range rows{tiles.begin * tile_rows(), std::min(tiles.end * tile_rows(), spec_.outputs)};
  const Range units = part_of(spec_.images * spec_.groups * position_units_, grid_.column(worker));
  for (int64_t unit = units.begin; unit < units.end;) {
    const int64_t pair = unit / position_units_, first = unit % position_units_;
    const int64_t last = std::min(position_units_, first + units.end - unit);
    const int64_t group = pair % spec_.groups;
    const char* weight = weight_rows(args, group, rows, scratch + panel_bytes_);
    multiply({args, pair / spec_.groups, group, rows, weight, scratch},
             {first * kPanelGroup, std::min(last * kPanelGroup, spec_.positions())});
    unit += last - first;
  }
}

void Convolution::multiply(const Job& job, Range positions) const {
  const int64_t row_bytes = spec_.positions() * element();
  const int64_t output = job.group * spec_.outputs + job.rows.begin;
  char* y = static_cast<char*>(job.args.outputs[0]) +
            (job.image * spec_.groups * spec_.outputs + output) * row_bytes;
  Tile tile{};
  tile.a = job.weight;
  tile.a_stride = in_place_ ? spec_.weight_rows.stride() : left_stride();
  tile.b = job.panel;
  tile.steps = kernel_.steps(spec_.inner());
  tile.rows = job.rows.end - job.rows.begin;
  for (int64_t begin = positions.begin; begin < positions.end; begin += kPanelColumns) {
    const int64_t count = std::min(kPanelColumns, positions.end - begin);
    tile.columns = round_up(count, kPanelGroup);
    tile.b_stride = tile.columns * unit_bytes(kernel_);
    pack_patches(job, {begin, begin + count}, tile.columns);
    for_each_tile(kernel_.multiply, tile, [&](const float* c, int64_t row, int64_t rows) {
      Epilogue epilogue{
          c, rows, count, 1, 1, {}, {}, y + row * row_bytes + begin * element(), row_bytes};
      if (spec_.bias_stride) {
        epilogue.bias = {
            static_cast<const char*>(job.args.inputs[2]) + (output + row) * *spec_.bias_stride,
            *spec_.bias_stride, 0};
      }
      epilogue_(epilogue);
    });
  }
}

void Convolution::pack_patches(const Job& job, Range positions, int64_t width) const {
  const char* image = static_cast<const char*>(job.args.inputs[0]) +
                      job.image * spec_.image_stride +
                      job.group * spec_.channels * spec_.channel_stride;
  const int64_t inner = spec_.inner(), count = positions.end - positions.begin;
  if (spec_.dtype == DType::float32) {
    float* to = reinterpret_cast<float*>(job.panel);
    for (int64_t i = 0; i < inner; ++i, to += width) {
      read_patches(image, i, positions, to);
      std::fill(to + count, to + width, 0.0f);
    }
  } else if (spec_.dtype == DType::float16) {
    uint16_t row[kPanelColumns] = {};
    float* to = reinterpret_cast<float*>(job.panel);
    for (int64_t i = 0; i < inner; ++i, to += width) {
      read_patches(image, i, positions, row);
      widen_(row, to, width);
    }
  } else {
    uint16_t even[kPanelColumns] = {}, odd[kPanelColumns] = {};
    uint32_t* to = reinterpret_cast<uint32_t*>(job.panel);
    for (int64_t i = 0; i < inner; i += 2, to += width) {
      read_patches(image, i, positions, even);
      if (i + 1 < inner) {
        read_patches(image, i + 1, positions, odd);
      } else {
        std::fill(odd, odd + width, uint16_t{0});
      }
      for (int64_t j = 0; j < width; ++j) to[j] = even[j] | static_cast<uint32_t>(odd[j]) << 16;
    }
  }
}

// One row of the patches: what one weight of one channel is multiplied with, at some positions.
template <typename T>
void Convolution::read_patches(const char* image, int64_t inner, Range positions, T* to) const {
  const auto& [depth, height, width] = spec_.axes;
  const int64_t* columns = width.of_kernel(inner % width.kernel);
  inner /= width.kernel;
  const int64_t* lines = height.of_kernel(inner % height.kernel);
  inner /= height.kernel;
  const int64_t* slices = depth.of_kernel(inner % depth.kernel);
  image += inner / depth.kernel * spec_.channel_stride;
  for (int64_t p = positions.begin; p < positions.end;) {
    const int64_t column = p % width.out, line = p / width.out % height.out;
    const int64_t slice = p / width.out / height.out;
    const int64_t count = std::min(width.out - column, positions.end - p);
    const int64_t *from = columns + column, *last = from + count - 1;
    if (slices[slice] < 0 || lines[line] < 0) {
      std::fill(to, to + count, T{0});
    } else {
      const char* start = image + slices[slice] + lines[line];
      if (*from >= 0 && *last - *from == (count - 1) * static_cast<int64_t>(sizeof(T))) {
        std::memcpy(to, start + *from, static_cast<size_t>(count) * sizeof(T));
      } else {
        for (int64_t i = 0; i < count; ++i) {
          to[i] = from[i] < 0 ? T{0} : *reinterpret_cast<const T*>(start + from[i]);
        }
      }
    }
    to += count;
    p += count;
  }
}

// One integer an image dim; a single one stands for all.
int64_t of_dim(const std::vector<int64_t>& values, size_t dim) {
  return values.size() == 1 ? values[0] : values[dim];
}

std::unique_ptr<Kernel> make_convolution(const device::Request& request) {
  const device::TensorDesc &input = *request.inputs[0], &weight = *request.inputs[1];
  const ir::Node& node = *request.node;
  const size_t image = input.sizes().size() - 2;
  if (!multiplies(request) || image > 3) return nullptr;
  const Strides x = byte_strides(input), w = byte_strides(weight);
  const bool transposed = node.flag("transposed");
  ConvolutionSpec spec;
  spec.dtype = input.dtype;
  spec.groups = node.integer("groups");
  spec.images = input.sizes()[0];
  spec.channels = input.sizes()[1] / spec.groups;
  spec.outputs = request.outputs[0].sizes()[1] / spec.groups;
  spec.image_stride = x[0];
  spec.channel_stride = x[1];
  const auto stride = node.integers("stride"), padding = node.integers("padding");
  const auto dilation = node.integers("dilation");
  for (size_t d = 0; d < image; ++d) {
    spec.axes[3 - image + d] =
        make_axis({input.sizes()[d + 2], request.outputs[0].sizes()[d + 2], weight.sizes()[d + 2],
                   of_dim(stride, d), of_dim(padding, d), of_dim(dilation, d), transposed},
                  x[d + 2]);
  }
  // weight (outputs of all groups, channels, …), or transposed (channels of all groups, outputs, …)
  const size_t output_dim = transposed ? 1 : 0, channel_dim = transposed ? 0 : 1;
  spec.weight_groups = Offsets(w[0] * (transposed ? spec.channels : spec.outputs));
  spec.weight_rows = Offsets(w[output_dim]);
  std::vector<int64_t> sizes{spec.channels}, strides{w[channel_dim]};
  sizes.insert(sizes.end(), weight.sizes().begin() + 2, weight.sizes().end());
  strides.insert(strides.end(), w.begin() + 2, w.end());
  spec.weight_inner = Offsets::over(sizes, strides);
  if (request.inputs[2]) spec.bias_stride = byte_strides(*request.inputs[2])[0];
  return std::make_unique<Convolution>(request, std::move(spec));
}

}  // namespace

void add_convolution(KernelTable& table) {
  table.add("aten.convolution", device::Tier::fast, make_convolution);
}

}  // namespace ostinato::cpu
