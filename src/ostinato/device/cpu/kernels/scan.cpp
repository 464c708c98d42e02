#include <limits>

#include "ostinato/device/cpu/kernels/fold.h"
#include "ostinato/device/cpu/kernels/kernels.h"

namespace ostinato::cpu {

namespace {

/// Running sums or products along one dim, of floats in double, of integers wrapping around.
template <bool product>
class ScanKernel final : public Kernel {
 public:
  ScanKernel(const device::Request& request, const Groups& lines, const Loops& targets,
             int64_t stride, DType dtype)
      : lines_(lines),
        targets_(targets),
        stride_(stride),
        real_(dtype == DType::float32),
        size_(size_of(request.outputs[0].dtype)),
        put_(find_convert(dtype, request.outputs[0].dtype)) {
    constexpr double kMicrosecondsPerElement = 1e-3;
    workers_ = workers_for(
        static_cast<double>(request.outputs[0].numel()) * kMicrosecondsPerElement, request.threads);
  }

  void run(const Args& args, Worker worker) const override {
    const Range range = part_of(lines_.count(), worker);
    ElementCursor from(lines_.kept(), range.begin), to(targets_, range.begin);
    for (int64_t i = range.begin; i < range.end; ++i, from.next(), to.next()) {
      const char* x = at(static_cast<const void*>(args.inputs[0]), from.offset(0));
      char* y = at(args.outputs[0], to.offset(0));
      if (real_) {
        scan_line<float, double>(x, y);
      } else {
        scan_line<int64_t, uint64_t>(x, y);
      }
    }
  }

 private:
  template <typename T, typename Running>
  void scan_line(const char* x, char* y) const {
    Running running = product ? 1 : 0;
    lines_.for_pieces(x, Groups::kChunk, [&](const void* piece, int64_t count, int64_t position) {
      const T* values = static_cast<const T*>(piece);
      alignas(64) T sums[Groups::kChunk];
      alignas(64) char stored[Groups::kChunk * sizeof(int64_t)];
      for (int64_t i = 0; i < count; ++i) {
        const Running value = static_cast<Running>(values[i]);
        running = product ? running * value : running + value;
        sums[i] = static_cast<T>(running);
      }
      put_(sums, stored, count);
      spread(stored, y + position * stride_, stride_, size_, count);
    });
  }

  Groups lines_;
  Loops targets_;  // each line's first element in the result
  int64_t stride_;
  bool real_;
  size_t size_;
  Convert put_;
};

template <bool product>
std::unique_ptr<Kernel> make_scan(const device::Request& request) {
  const device::TensorDesc &x = *request.inputs[0], &y = request.outputs[0];
  const size_t rank = x.sizes().size();
  const size_t dim = wrap_dim(request.node->integer("dim"), rank);
  const DType dtype = is_floating(y.dtype) ? DType::float32 : DType::int64;
  std::vector<bool> marked(rank, false);
  if (rank > 0) marked[dim] = true;
  const auto lines = Groups::make(x, marked, dtype), targets = Groups::make(y, marked, y.dtype);
  if (!lines || !targets) return nullptr;
  const int64_t stride = rank > 0 ? byte_strides(y)[dim] : static_cast<int64_t>(size_of(y.dtype));
  return std::make_unique<ScanKernel<product>>(request, *lines, targets->kept(), stride, dtype);
}

}  // namespace

void add_scan(KernelTable& table) {
  table.add("aten.cumsum", device::Tier::fast, make_scan<false>);
  table.add("aten.cumprod", device::Tier::fast, make_scan<true>);
}

}  // namespace ostinato::cpu
