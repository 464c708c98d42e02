#include "ostinato/device/cpu/reference/reference.h"

#include "ostinato/base/error.h"

namespace ostinato::cpu::reference {

int64_t View::offset(std::span<const int64_t> index) const {
  int64_t result = 0;
  for (size_t d = 0; d < index.size(); ++d) result += index[d] * strides()[d];
  return result;
}

int64_t View::offset_of(int64_t position) const {
  int64_t result = 0;
  for (size_t d = rank(); d-- > 0;) {
    result += position % size(d) * strides()[d];
    position /= size(d);
  }
  return result;
}

namespace {

// One element of a tensor to and from what the kernels compute in: float or int64_t.
template <typename To, typename T>
To load(T value) {
  if constexpr (!is_floating_v<T>) {
    return static_cast<To>(value);
  } else if constexpr (std::is_same_v<To, int64_t>) {
    return to_integer<int64_t>(to_float(value));
  } else {
    return to_float(value);
  }
}

template <typename T, typename From>
T store(From value) {
  if constexpr (is_floating_v<T>) {
    return from_float<T>(static_cast<float>(value));
  } else if constexpr (std::is_same_v<T, bool> || std::is_same_v<From, int64_t>) {
    return static_cast<T>(value);
  } else {
    return static_cast<T>(to_integer<T>(value));
  }
}

template <typename To>
void load_run(const View& view, int64_t offset, int64_t stride, int64_t count, To* values) {
  dispatch(view.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = static_cast<const T*>(view.data()) + offset;
    for (int64_t i = 0; i < count; ++i) values[i] = load<To>(from[i * stride]);
  });
}

template <typename From>
void store_run(const View& view, int64_t offset, int64_t stride, int64_t count,
               const From* values) {
  dispatch(view.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* to = static_cast<T*>(view.data()) + offset;
    for (int64_t i = 0; i < count; ++i) to[i * stride] = store<T>(values[i]);
  });
}

}  // namespace

float View::get(int64_t offset) const {
  float value;
  get_run(offset, 0, 1, &value);
  return value;
}

int64_t View::get_integer(int64_t offset) const {
  int64_t value;
  get_run(offset, 0, 1, &value);
  return value;
}

void View::set(int64_t offset, float value) const { set_run(offset, 0, 1, &value); }
void View::set_integer(int64_t offset, int64_t value) const { set_run(offset, 0, 1, &value); }

void View::get_run(int64_t offset, int64_t stride, int64_t count, float* values) const {
  load_run(*this, offset, stride, count, values);
}
void View::get_run(int64_t offset, int64_t stride, int64_t count, int64_t* values) const {
  load_run(*this, offset, stride, count, values);
}
void View::set_run(int64_t offset, int64_t stride, int64_t count, const float* values) const {
  store_run(*this, offset, stride, count, values);
}
void View::set_run(int64_t offset, int64_t stride, int64_t count, const int64_t* values) const {
  store_run(*this, offset, stride, count, values);
}

namespace {

// Calls `f(offset, position, stride, count)` for each run of elements along the last dim.
template <typename F>
void for_each_run(const View& view, F&& f) {
  const int64_t count = view.rank() > 0 ? view.sizes().back() : 1;
  std::vector<int64_t> rows = view.sizes();
  if (!rows.empty()) rows.back() = count > 0 ? 1 : 0;
  for_each_index(rows, [&](std::span<const int64_t> index, int64_t row) {
    f(view.offset(index), row * count, view.rank() > 0 ? view.strides().back() : 1, count);
  });
}

}  // namespace

std::vector<float> View::to_floats() const {
  std::vector<float> values(static_cast<size_t>(numel()));
  for_each_run(*this, [&](int64_t at, int64_t position, int64_t stride, int64_t count) {
    get_run(at, stride, count, values.data() + position);
  });
  return values;
}

std::vector<int64_t> View::to_integers() const {
  std::vector<int64_t> values(static_cast<size_t>(numel()));
  for_each_index(sizes(), [&](std::span<const int64_t> index, int64_t position) {
    values[static_cast<size_t>(position)] = get_integer(offset(index));
  });
  return values;
}

void View::from_floats(std::span<const float> values) const {
  for_each_run(*this, [&](int64_t at, int64_t position, int64_t stride, int64_t count) {
    set_run(at, stride, count, values.data() + position);
  });
}

void View::from_integers(std::span<const int64_t> values) const {
  for_each_index(sizes(), [&](std::span<const int64_t> index, int64_t position) {
    set_integer(offset(index), values[static_cast<size_t>(position)]);
  });
}

const View& Call::input(std::string_view name) const {
  const auto& specs = node.op->operands;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].name == name) return inputs[i];
  }
  fail(ErrorCode::internal, "device/cpu/reference", "Report this as a defect.",
       "{} has no operand '{}'", node.op->name, name);
}

namespace {

class ReferenceKernel final : public Kernel {
 public:
  ReferenceKernel(const device::Request& request, Function function, bool parallel)
      : request_(request), function_(function) {
    workers_ = parallel ? request.threads : 1;
  }

  void run(const Args& args, Worker worker) const override {
    std::vector<View> inputs, outputs;
    for (size_t i = 0; i < request_.inputs.size(); ++i) {
      inputs.push_back(request_.inputs[i] ? View(args.inputs[i], *request_.inputs[i]) : View());
    }
    for (size_t i = 0; i < request_.outputs.size(); ++i) {
      outputs.emplace_back(args.outputs[i], request_.outputs[i]);
    }
    function_({*request_.node, inputs, outputs, worker, args.fault});
  }

 private:
  device::Request request_;
  Function function_;
};

}  // namespace

std::unique_ptr<Kernel> wrap(const device::Request& request, Function function, bool parallel) {
  return std::make_unique<ReferenceKernel>(request, function, parallel);
}

}  // namespace ostinato::cpu::reference
