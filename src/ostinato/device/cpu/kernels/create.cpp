#include <cstring>

#include "ostinato/base/dtype.h"
#include "ostinato/device/cpu/kernels/assembly.h"
#include "ostinato/device/cpu/kernels/kernels.h"

namespace ostinato::cpu {

namespace {

std::unique_ptr<Kernel> fill(const device::Request& request, const ir::Attribute& value) {
  const device::TensorDesc& y = request.outputs[0];
  auto assembly = std::make_unique<Assembly>(request);
  assembly->fill(bits_of(value, y.dtype), {0, 0, byte_strides(y)}, y.sizes());
  return Assembly::finish(std::move(assembly));
}

template <int64_t value>
std::unique_ptr<Kernel> make_constant(const device::Request& request) {
  return fill(request, ir::Dim(value));
}

std::unique_ptr<Kernel> make_full(const device::Request& request) {
  return fill(request, request.node->attribute("fill_value"));
}

std::unique_ptr<Kernel> make_scalar_tensor(const device::Request& request) {
  return fill(request, request.node->attribute("s"));
}

/// start, start + step, …
class ArangeKernel final : public Kernel {
 public:
  ArangeKernel(const device::Request& request, const ir::Attribute& start,
               const ir::Attribute& step)
      : dtype_(request.outputs[0].dtype),
        count_(request.outputs[0].numel()),
        start_(ir::number_of<double>(start)),
        step_(ir::number_of<double>(step)),
        first_(ir::number_of<int64_t>(start)),
        by_(ir::number_of<int64_t>(step)) {}

  void run(const Args& args, Worker worker) const override {
    dispatch(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      T* y = static_cast<T*>(args.outputs[0]);
      const Range range = part_of(count_, worker, 64);
      for (int64_t i = range.begin; i < range.end; ++i) {
        if constexpr (is_floating_v<T>) {
          y[i] = from_float<T>(static_cast<float>(start_ + step_ * static_cast<double>(i)));
        } else {
          const auto by = static_cast<uint64_t>(by_) * static_cast<uint64_t>(i);  // wraps
          y[i] = static_cast<T>(static_cast<int64_t>(static_cast<uint64_t>(first_) + by));
        }
      }
    });
  }

 private:
  DType dtype_;
  int64_t count_;
  double start_, step_;
  int64_t first_, by_;
};

std::unique_ptr<Kernel> make_arange(const device::Request& request) {
  const ir::Node& node = *request.node;
  ir::Attribute start = ir::Dim(0), step = ir::Dim(1);
  for (const ir::AttrSpec& spec : node.op->attributes) {
    if (spec.name == "start") start = node.attribute("start");
    if (spec.name == "step") step = node.attribute("step");
  }
  return std::make_unique<ArangeKernel>(request, start, step);
}

}  // namespace

void add_create(KernelTable& table) {
  const auto add = [&table](std::initializer_list<std::string_view> names, Factory make) {
    for (const std::string_view name : names) table.add(name, device::Tier::fast, make);
  };
  add({"aten.zeros", "aten.zeros_like", "aten.empty.memory_format", "aten.empty_like",
       "aten.empty_permuted"},
      make_constant<0>);
  add({"aten.ones", "aten.ones_like"}, make_constant<1>);
  add({"aten.full", "aten.full_like"}, make_full);
  add({"aten.scalar_tensor"}, make_scalar_tensor);
  add({"aten.arange", "aten.arange.start", "aten.arange.start_step"}, make_arange);
}

}  // namespace ostinato::cpu
