#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ostinato/device/cuda/blas.h"
#include "ostinato/device/cuda/driver.h"
#include "ostinato/device/cuda/kernels/operands.h"
#include "ostinato/device/device.h"

namespace ostinato::cuda {

/// Which of a step's addresses a launch takes, and how far into it; `none` is null.
struct Use {
  enum class Of { none, input, output, scratch };
  Of of = Of::input;
  size_t index = 0, offset = 0;  ///< `offset` in bytes
};

/// A launch of one of our kernels, with all but addresses decided.
struct Launch {
  CUfunction function = nullptr;
  unsigned grid[3] = {1, 1, 1};
  unsigned threads = 1;
  std::vector<Use> operands;      ///< at most kMaxOperands
  std::vector<std::byte> params;  ///< the kernel's own structure
};

/// A call of a library, which queues its kernels on the stream that it is given.
class LibraryCall {
 public:
  virtual ~LibraryCall() = default;
  virtual void queue(const Operands& operands, CUstream stream) const = 0;

  std::vector<Use> operands;
};

/// What a node takes: one launch mostly, or several, or a library's call. Immutable.
class Kernel final : public device::Kernel {
 public:
  size_t scratch_bytes() const override { return scratch; }
  int workers() const override { return multiprocessors; }

  struct Work {
    Launch launch;  // where there is no call
    std::shared_ptr<const LibraryCall> call;
  };

  const ir::Node* node = nullptr;
  device::Request request;  ///< what it was prepared for
  std::vector<Work> work;
  size_t scratch = 0;
  int multiprocessors = 1;  ///< that its blocks keep busy; all where it shares memory with others
};

/// What kernels are prepared with, beside the request.
class Functions {
 public:
  virtual ~Functions() = default;
  /// The compiled kernel of that name. Throws `internal`.
  virtual CUfunction find(const std::string& name) = 0;
  virtual int multiprocessors() const = 0;
  /// What measurements hold for: the GPU's name and compute capability.
  virtual std::string model() const = 0;
  /// The same of the kernels themselves: digests of their code, which a newer build may change.
  virtual std::string code() const = 0;
  /// Memory of the device, for measurements.
  virtual std::shared_ptr<void> allocate(size_t bytes) = 0;
  /// How long what is queued takes, the mean of a few times after the first.
  virtual double seconds_of(const std::function<void(CUstream)>& queue) = 0;
  /// cuBLASLt's state on this device. Throws `unsupported` where the library is missing.
  virtual blas::Handle blas() = 0;
};

/// The bytes of a kernel's own structure.
template <typename T>
std::vector<std::byte> bytes_of_params(const T& params) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<std::byte> bytes(sizeof(T));
  std::memcpy(bytes.data(), &params, sizeof(T));
  return bytes;
}

/// Makes a kernel for a request, or null when the dtypes or layouts are not its own. One without
/// work computes nothing, as for results without elements.
using Factory = std::unique_ptr<Kernel> (*)(const device::Request& request, Functions& functions);

/// The factory of an operator; null where the device has no kernel of it.
Factory find_factory(std::string_view op);

/// The operators that there are kernels of, sorted.
std::vector<std::string_view> operators();

}  // namespace ostinato::cuda
