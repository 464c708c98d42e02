#include <algorithm>
#include <cstring>

#include "ostinato/device/cpu/kernels/fold.h"
#include "ostinato/device/cpu/kernels/kernels.h"

namespace ostinato::cpu {

namespace {

template <typename T>
struct Entry {
  T value;
  int64_t place;
};

// Stable, NaN greater than all numbers; the place decides between equals.
template <typename T>
bool ascends(const Entry<T>& a, const Entry<T>& b) {
  if (a.value < b.value || (a.value == a.value && b.value != b.value)) return true;
  if (b.value < a.value || (b.value == b.value && a.value != a.value)) return false;
  return a.place < b.place;
}
template <typename T>
bool descends(const Entry<T>& a, const Entry<T>& b) {
  if (a.value > b.value || (a.value != a.value && b.value == b.value)) return true;
  if (b.value > a.value || (b.value != b.value && a.value == a.value)) return false;
  return a.place < b.place;
}

/// The first elements of each sorted line and their places in it: as many as the results have.
class SortKernel final : public Kernel {
 public:
  SortKernel(const device::Request& request, const Groups& lines, const Loops& targets,
             int64_t stride, int64_t count, bool descending)
      : lines_(lines),
        targets_(targets),
        stride_(stride),
        count_(count),
        descending_(descending),
        dtype_(is_floating(request.inputs[0]->dtype) ? DType::float32 : DType::int64) {
    places_ = request.outputs.size() - 1;
    if (places_ == 1) {
      put_ = find_convert(dtype_, request.outputs[0].dtype);
      value_size_ = static_cast<int64_t>(size_of(request.outputs[0].dtype));
    }
    constexpr double kMicrosecondsPerElement = 30e-3;
    workers_ = workers_for(
        static_cast<double>(request.inputs[0]->numel()) * kMicrosecondsPerElement, request.threads);
  }

  size_t scratch_bytes() const override { return static_cast<size_t>(workers_) * line_bytes(); }

  void run(const Args& args, Worker worker) const override {
    const Range range = part_of(lines_.count(), worker);
    char* scratch =
        at(args.scratch, static_cast<int64_t>(line_bytes()) * static_cast<int64_t>(worker.index));
    ElementCursor from(lines_.kept(), range.begin), to(targets_, range.begin);
    for (int64_t i = range.begin; i < range.end; ++i, from.next(), to.next()) {
      const char* x = at(static_cast<const void*>(args.inputs[0]), from.offset(0));
      const int64_t first = to.offset(0) / static_cast<int64_t>(sizeof(int64_t));
      if (dtype_ == DType::float32) {
        sort_line<float>(args, x, first, scratch);
      } else {
        sort_line<int64_t>(args, x, first, scratch);
      }
    }
  }

 private:
  size_t line_bytes() const {
    return (static_cast<size_t>(lines_.length()) * sizeof(Entry<int64_t>) + 63) / 64 * 64;
  }

  // @param first where the line begins in the results, in elements
  template <typename T>
  void sort_line(const Args& args, const char* x, int64_t first, char* scratch) const {
    Entry<T>* line = reinterpret_cast<Entry<T>*>(scratch);
    lines_.for_pieces(x, Groups::kChunk, [&](const void* piece, int64_t count, int64_t position) {
      const T* values = static_cast<const T*>(piece);
      for (int64_t i = 0; i < count; ++i) line[position + i] = {values[i], position + i};
    });
    const auto before = descending_ ? descends<T> : ascends<T>;
    std::partial_sort(line, line + count_, line + lines_.length(), before);
    int64_t* places = static_cast<int64_t*>(args.outputs[places_]) + first;
    for (int64_t i = 0; i < count_; ++i) {
      places[i * stride_] = line[i].place;
      if (places_ == 0) continue;
      put_(&line[i].value, at(args.outputs[0], (first + i * stride_) * value_size_), 1);
    }
  }

  Groups lines_;
  Loops targets_;  // each line's first place among the results
  int64_t stride_, count_;
  bool descending_;
  DType dtype_;
  size_t places_;  // the output
  Convert put_ = nullptr;
  int64_t value_size_ = 0;
};

std::unique_ptr<Kernel> make_line_sort(const device::Request& request, bool descending) {
  const device::TensorDesc &x = *request.inputs[0], &places = request.outputs.back();
  const size_t rank = x.sizes().size();
  const size_t dim = wrap_dim(request.node->integer("dim"), rank);
  std::vector<bool> marked(rank, false);
  if (rank > 0) marked[dim] = true;
  const auto lines = Groups::make(x, marked, is_floating(x.dtype) ? DType::float32 : DType::int64);
  const auto targets = Groups::make(places, marked, places.dtype);
  if (!lines || !targets) return nullptr;
  const int64_t stride = rank > 0 ? places.strides()[dim] : 1;
  const int64_t count = rank > 0 ? places.sizes()[dim] : 1;
  return std::make_unique<SortKernel>(request, *lines, targets->kept(), stride, count, descending);
}

std::unique_ptr<Kernel> make_sort(const device::Request& request) {
  return make_line_sort(request, request.node->flag("descending"));
}

std::unique_ptr<Kernel> make_topk(const device::Request& request) {
  return make_line_sort(request, request.node->flag("largest"));
}

}  // namespace

void add_sort(KernelTable& table) {
  for (const std::string_view name :
       {"aten.sort", "aten.sort.stable", "aten.argsort", "aten.argsort.stable"}) {
    table.add(name, device::Tier::fast, make_sort);
  }
  table.add("aten.topk", device::Tier::fast, make_topk);
}

}  // namespace ostinato::cpu
