#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dlpack.h"
#include "ostinato/tensor.h"

/// PyTorch's tensors without PyTorch's headers or libraries: everything goes through the table of
/// functions that its tensor type offers.
namespace ostinato::python {

/// Tells where tensors come from: the type whose `__dlpack_c_exchange_api__` is used from now on,
/// and the function to call with a list of tensors whose memory was written. Throws `unsupported`
/// for a type without that table.
void use_tensors_of(nanobind::handle type, nanobind::object tell_written);

/// Tells PyTorch that the memory of these tensors was written.
void tell_written(const nanobind::list& tensors);

/// Where tensors lie.
struct Place {
  int32_t type = 1, index = 0;  ///< as DLPack counts them

  bool operator==(const Place&) const = default;
  bool is_cpu() const { return type == 1; }
  std::string name() const;  ///< as PyTorch has it: `cpu`, `cuda:0`
};

/// Of the tensors that a device works on, by its name: `cuda:1` for a GPU, the host for others.
/// Throws `invalid_argument` for a GPU without its number.
Place place_of(const std::string& device);

/// The driver's handle of the stream that PyTorch queues work of this thread on now; null for the
/// default stream.
void* current_stream(const Place& gpu);

/// A tensor as it lies in memory; valid while the object lives.
struct TensorView {
  void* data = nullptr;
  std::optional<DType> dtype;  ///< nullopt for one that the engine lacks
  bool is_float64 = false;     ///< as PyTorch gives a Python float
  Place place;
  size_t rank = 0;
  const int64_t* sizes = nullptr;
  const int64_t* strides = nullptr;
};

/// Throws the Python error of an object that is no dense tensor.
TensorView view_of(PyObject* tensor);

/// What keeps a tensor's memory alive.
std::shared_ptr<const void> owner_of(PyObject* tensor);

/// A new dense tensor, as `torch.empty` makes it, in memory of PyTorch's allocator.
class NewTensor {
 public:
  NewTensor(DType dtype, const std::vector<int64_t>& sizes, const Place& place);

  void* data() const { return managed_->dl_tensor.data; }
  /// Hands it over to Python; once.
  nanobind::object release();

 private:
  struct Delete {
    void operator()(DLManagedTensorVersioned* managed) const { managed->deleter(managed); }
  };
  std::unique_ptr<DLManagedTensorVersioned, Delete> managed_;
};

/// A dense copy of a tensor with its dims in that order; empty: as they are. PyTorch makes it, on
/// its own stream.
nanobind::object dense_copy(PyObject* tensor, const std::vector<size_t>& order);

/// Copies elements of `bytes` each between two arrays of the same sizes, strides in elements.
void copy_strided(void* to, const int64_t* to_strides, const void* from,
                  const int64_t* from_strides, const int64_t* sizes, size_t rank, size_t bytes);

}  // namespace ostinato::python
