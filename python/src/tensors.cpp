#include "tensors.h"

#include <charconv>
#include <cstring>

#include "ostinato/base/error.h"

namespace ostinato::python {

namespace nb = nanobind;

namespace {

constexpr uint32_t kMajorVersion = 1;
constexpr int32_t kCpu = 1, kCuda = 2;

// Set once, before the first tensor comes, and kept until the process ends.
const DLPackExchangeAPI* exchange = nullptr;
PyObject* written_hook = nullptr;

enum Code : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kBool = 6 };

struct DTypeRow {
  DType dtype;
  DLDataType data_type;
};
constexpr DTypeRow kDTypes[] = {
    {DType::float32, {kFloat, 32, 1}}, {DType::bfloat16, {kBfloat, 16, 1}},
    {DType::float16, {kFloat, 16, 1}}, {DType::int64, {kInt, 64, 1}},
    {DType::int32, {kInt, 32, 1}},     {DType::uint8, {kUInt, 8, 1}},
    {DType::boolean, {kBool, 8, 1}}};

std::optional<DType> dtype_of(DLDataType type) {
  for (const DTypeRow& row : kDTypes) {
    if (row.data_type.code == type.code && row.data_type.bits == type.bits && type.lanes == 1) {
      return row.dtype;
    }
  }
  return std::nullopt;
}

DLDataType data_type_of(DType dtype) { return kDTypes[static_cast<size_t>(dtype)].data_type; }

template <size_t bytes>
void copy_row(char* to, int64_t to_stride, const char* from, int64_t from_stride, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to, from, bytes);
    to += to_stride * static_cast<int64_t>(bytes);
    from += from_stride * static_cast<int64_t>(bytes);
  }
}

}  // namespace

void use_tensors_of(nb::handle type, nb::object tell_written) {
  nb::object found = nb::getattr(type, "__dlpack_c_exchange_api__", nb::none());
  const auto* api = found.is_none() ? nullptr
                                    : static_cast<const DLPackExchangeAPI*>(
                                          PyCapsule_GetPointer(found.ptr(), "dlpack_exchange_api"));
  PyErr_Clear();
  while (api != nullptr && api->version.major > kMajorVersion) api = api->prev_api;
  if (api == nullptr) {
    fail(ErrorCode::unsupported, "python/tensors", "Install PyTorch 2.10 or later.",
         "expected a tensor type with the exchange table of DLPack {}", kMajorVersion);
  }
  exchange = api;
  written_hook = tell_written.release().ptr();
}

std::string Place::name() const {
  if (type == kCpu) return "cpu";
  return type == kCuda ? fmt::format("cuda:{}", index) : fmt::format("another ({})", type);
}

Place place_of(const std::string& device) {
  constexpr std::string_view kCudaName = "cuda";
  if (!device.starts_with(kCudaName)) return {};
  Place place{kCuda, 0};
  const char *begin = device.data() + kCudaName.size(), *end = device.data() + device.size();
  if (begin == end || *begin != ':' || std::from_chars(begin + 1, end, place.index).ptr != end) {
    fail(ErrorCode::invalid_argument, "python/tensors", "Say which, as in cuda:0.",
         "expected a GPU's name and number, got '{}'", device);
  }
  return place;
}

void* current_stream(const Place& gpu) {
  void* stream = nullptr;
  if (exchange->current_work_stream(gpu.type, gpu.index, &stream) != 0) throw nb::python_error();
  return stream;
}

void tell_written(const nb::list& tensors) {
  const nb::handle hook(written_hook);
  hook(tensors);
}

TensorView view_of(PyObject* tensor) {
  DLTensor view;
  if (exchange->dltensor_from_py_object_no_sync(tensor, &view) != 0) throw nb::python_error();
  return {static_cast<char*>(view.data) + view.byte_offset,
          dtype_of(view.dtype),
          view.dtype.code == kFloat && view.dtype.bits == 64,
          {view.device.device_type, view.device.device_id},
          static_cast<size_t>(view.ndim),
          view.shape,
          view.strides};
}

std::shared_ptr<const void> owner_of(PyObject* tensor) {
  DLManagedTensorVersioned* managed = nullptr;
  if (exchange->managed_tensor_from_py_object_no_sync(tensor, &managed) != 0) {
    throw nb::python_error();
  }
  return {managed, [](DLManagedTensorVersioned* owned) { owned->deleter(owned); }};
}

NewTensor::NewTensor(DType dtype, const std::vector<int64_t>& sizes, const Place& place) {
  DLTensor prototype{};
  prototype.device = {place.type, place.index};
  prototype.ndim = static_cast<int32_t>(sizes.size());
  prototype.dtype = data_type_of(dtype);
  prototype.shape = const_cast<int64_t*>(sizes.data());
  std::string problem;
  DLManagedTensorVersioned* managed = nullptr;
  const int failed = exchange->managed_tensor_allocator(
      &prototype, &managed, &problem, [](void* context, const char*, const char* message) {
        *static_cast<std::string*>(context) = message;
      });
  if (failed != 0) {
    fail(ErrorCode::out_of_memory, "python/tensors", "Use smaller inputs.",
         "cannot allocate a result: {}", problem);
  }
  managed_.reset(managed);
}

nb::object NewTensor::release() {
  void* object = nullptr;
  if (exchange->managed_tensor_to_py_object_no_sync(managed_.release(), &object) != 0) {
    throw nb::python_error();
  }
  return nb::steal(static_cast<PyObject*>(object));
}

nb::object dense_copy(PyObject* tensor, const std::vector<size_t>& order) {
  const TensorView view = view_of(tensor);
  std::vector<int64_t> sizes(view.sizes, view.sizes + view.rank);
  nb::object source = nb::borrow(tensor).attr("detach")();
  if (!order.empty()) {
    nb::list dims;
    for (size_t d = 0; d < order.size(); ++d) {
      dims.append(order[d]);
      sizes[d] = view.sizes[order[d]];
    }
    source = source.attr("permute")(dims);
  }
  nb::object copy = NewTensor(*view.dtype, sizes, view.place).release();
  copy.attr("copy_")(source);
  return copy;
}

void copy_strided(void* to, const int64_t* to_strides, const void* from,
                  const int64_t* from_strides, const int64_t* sizes, size_t rank, size_t bytes) {
  auto* target = static_cast<char*>(to);
  const auto* source = static_cast<const char*>(from);
  if (rank == 0) {
    std::memcpy(target, source, bytes);
    return;
  }
  if (rank > 1) {
    for (int64_t i = 0; i < sizes[0]; ++i) {
      copy_strided(target + i * to_strides[0] * static_cast<int64_t>(bytes), to_strides + 1,
                   source + i * from_strides[0] * static_cast<int64_t>(bytes), from_strides + 1,
                   sizes + 1, rank - 1, bytes);
    }
    return;
  }
  const int64_t count = sizes[0];
  if (to_strides[0] == 1 && from_strides[0] == 1) {
    std::memcpy(target, source, static_cast<size_t>(count) * bytes);
    return;
  }
  switch (bytes) {
    case 1: return copy_row<1>(target, to_strides[0], source, from_strides[0], count);
    case 2: return copy_row<2>(target, to_strides[0], source, from_strides[0], count);
    case 4: return copy_row<4>(target, to_strides[0], source, from_strides[0], count);
    default: return copy_row<8>(target, to_strides[0], source, from_strides[0], count);
  }
}

}  // namespace ostinato::python
