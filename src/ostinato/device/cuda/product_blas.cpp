#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "ostinato/base/error.h"
#include "ostinato/device/cuda/blas.h"
#include "ostinato/device/cuda/elementwise.h"
#include "ostinato/device/cuda/product.h"

/// cuBLASLt counts columns as the faster dim. A product of row-major matrices y = a·b is for it
/// yᵀ = bᵀ·aᵀ, so its first operand is our b.
namespace ostinato::cuda {

namespace {

size_t bytes_of(Type type) { return type == Type::float32 ? 4 : 2; }

cudaDataType_t blas_type(Type type) {
  if (type == Type::bfloat16) return CUDA_R_16BF;
  return type == Type::float16 ? CUDA_R_16F : CUDA_R_32F;
}

/// A matrix as cuBLASLt stores it: `lead` elements from one column to the next.
struct Stored {
  int64_t rows = 0, columns = 0, lead = 0, batch_stride = 0;
  bool transposed = false;
};

/// A matrix of those strides; nothing when neither is one. Of a size of one any stride will do.
std::optional<Stored> stored(int64_t rows, int64_t columns, int64_t row_stride,
                             int64_t column_stride, int64_t batch_stride) {
  const auto lead = [](int64_t stride, int64_t size, int64_t across) {
    return across == 1 ? size : stride;
  };
  if ((row_stride == 1 || rows == 1) && (columns == 1 || column_stride >= rows)) {
    return Stored{rows, columns, lead(column_stride, rows, columns), batch_stride, false};
  }
  if ((column_stride == 1 || columns == 1) && (rows == 1 || row_stride >= columns)) {
    return Stored{columns, rows, lead(row_stride, columns, rows), batch_stride, true};
  }
  return std::nullopt;
}

/// Frees what cuBLASLt made, whatever happens.
template <typename T>
class Owned {
 public:
  explicit Owned(blas::Status (*destroy)(T)) : destroy_(destroy) {}
  ~Owned() {
    if (value != nullptr) destroy_(value);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;

  T value = nullptr;

 private:
  blas::Status (*destroy_)(T);
};

class BlasLayout : public Owned<blas::Layout> {
 public:
  BlasLayout(const Stored& matrix, Type type, int64_t matrices)
      : Owned(blas::library().MatrixLayoutDestroy) {
    const blas::Library& lt = blas::library();
    blas::check(lt.MatrixLayoutCreate(&value, blas_type(type), static_cast<uint64_t>(matrix.rows),
                                      static_cast<uint64_t>(matrix.columns), matrix.lead),
                "MatrixLayoutCreate");
    const auto count = static_cast<int32_t>(matrices);
    blas::check(lt.MatrixLayoutSetAttribute(value, blas::kBatchCount, &count, sizeof(count)),
                "MatrixLayoutSetAttribute");
    blas::check(lt.MatrixLayoutSetAttribute(value, blas::kBatchStride, &matrix.batch_stride,
                                            sizeof(matrix.batch_stride)),
                "MatrixLayoutSetAttribute");
  }
};

/// A product as cuBLASLt is asked for it.
struct BlasSpec {
  ProductParams params;
  int64_t matrices;
  uint32_t epilogue;
  Stored a, b, added, y;
  Type result;  ///< of y, and of what is added
};

/// Operands: b, a, bias or none, added or none, y, workspace.
class BlasCall final : public LibraryCall {
 public:
  BlasCall(Functions& functions, device::PackedWeights& choices, const BlasSpec& spec)
      : handle_(functions.blas()), spec_(spec) {
    constexpr size_t kMostWorkspace = size_t{32} << 20;
    constexpr int kCandidates = 6;
    const auto candidates = ranked(kUsualAlignment, kMostWorkspace, kCandidates);
    if (candidates.empty()) return;
    chosen_ = candidates[0];
    if (candidates.size() == 1) return;
    const std::string key = key_of(functions, candidates);
    auto choice = choices.choice(key);
    if (!choice) {
      choice = fastest(functions, candidates);
      choices.remember(key, *choice);
    }
    if (*choice >= 0 && *choice < static_cast<int64_t>(candidates.size())) {
      chosen_ = candidates[static_cast<size_t>(*choice)];
    }
  }

  size_t workspace_bytes() const { return chosen_ ? chosen_->workspace_bytes : 0; }
  bool is_possible() const { return chosen_.has_value(); }

  void queue(const Operands& operands, CUstream stream) const override {
    const Described d(*this, operands.at[2]);
    const void* added = operands.at[3] != nullptr ? operands.at[3] : operands.at[4];
    const float beta = operands.at[3] != nullptr ? spec_.params.beta : 0.0f;
    const bool usual = std::all_of(operands.at, operands.at + 5, [](const void* pointer) {
      return reinterpret_cast<uintptr_t>(pointer) % kUsualAlignment == 0;
    });
    // Views may begin anywhere; for those there is an algorithm that reads single elements.
    const auto found = usual ? std::vector{*chosen_}
                             : ranked(bytes_of(spec_.params.a), chosen_->workspace_bytes, 1);
    if (found.empty()) blas::check(kNotSupported, "MatmulAlgoGetHeuristic");
    multiply(d, operands, added, beta, found[0], chosen_->workspace_bytes, stream);
  }

 private:
  struct Described {
    Described(const BlasCall& call, const void* bias)
        : operation(blas::library().MatmulDescDestroy),
          a(call.spec_.a, call.spec_.params.a, call.spec_.matrices),
          b(call.spec_.b, call.spec_.params.b, call.spec_.matrices),
          added(call.spec_.added, call.spec_.result, call.spec_.matrices),
          y(call.spec_.y, call.spec_.result, call.spec_.matrices) {
      const blas::Library& lt = blas::library();
      blas::check(lt.MatmulDescCreate(&operation.value, blas::kComputeFloat32, CUDA_R_32F),
                  "MatmulDescCreate");
      const auto set = [&](int attribute, auto given) {
        blas::check(lt.MatmulDescSetAttribute(operation.value, attribute, &given, sizeof(given)),
                    "MatmulDescSetAttribute");
      };
      set(blas::kTransposeA, int32_t{call.spec_.b.transposed});
      set(blas::kTransposeB, int32_t{call.spec_.a.transposed});
      set(blas::kEpilogue, call.spec_.epilogue);
      if ((call.spec_.epilogue & blas::kBias) == 0) return;
      set(blas::kBiasPointer, bias);
      set(blas::kBiasType, static_cast<int32_t>(blas_type(call.spec_.params.bias)));
    }

    Owned<blas::Operation> operation;
    BlasLayout a, b, added, y;
  };

  void multiply(const Described& d, const Operands& operands, const void* added, float beta,
                const blas::Candidate& candidate, size_t workspace_bytes, CUstream stream) const {
    blas::check(blas::library().Matmul(
                    handle_, d.operation.value, &spec_.params.alpha, operands.at[0], d.b.value,
                    operands.at[1], d.a.value, &beta, added, d.added.value, operands.at[4],
                    d.y.value, &candidate.algorithm, operands.at[5], workspace_bytes, stream),
                "Matmul");
  }

  /// All that decides which is fastest: the GPU, what is multiplied, and what there is to choose
  /// from, which changes with the library's version.
  std::string key_of(Functions& functions, const std::vector<blas::Candidate>& candidates) const {
    std::string key = fmt::format("cuBLASLt {} x{} {} {}", functions.model(), spec_.matrices,
                                  spec_.epilogue, static_cast<int>(spec_.result));
    for (const Stored* matrix : {&spec_.a, &spec_.b, &spec_.added, &spec_.y}) {
      key += fmt::format(" {}x{}/{}+{}{}", matrix->rows, matrix->columns, matrix->lead,
                         matrix->batch_stride, matrix->transposed ? "t" : "");
    }
    key += fmt::format(" {} {}", static_cast<int>(spec_.params.a), spec_.params.beta);
    for (const blas::Candidate& candidate : candidates) {
      key += fmt::format(" {:x}", fmt::join(candidate.algorithm.data, "-"));
    }
    return key;
  }

  /// Which of them is fastest on memory of these sizes. The first where there is no memory to try.
  int64_t fastest(Functions& functions, const std::vector<blas::Candidate>& candidates) const {
    const auto bytes = [&](const Stored& matrix, Type type) {
      const int64_t batch = (spec_.matrices - 1) * matrix.batch_stride;
      return static_cast<size_t>(batch + matrix.lead * matrix.columns) * bytes_of(type);
    };
    std::vector<std::shared_ptr<void>> memory;
    Operands operands{};
    try {
      const auto room = [&](int at, size_t size) {
        memory.push_back(functions.allocate(size));
        operands.at[at] = memory.back().get();
      };
      size_t workspace = 0;
      for (const blas::Candidate& each : candidates) {
        workspace = std::max(workspace, each.workspace_bytes);
      }
      room(0, bytes(spec_.b, spec_.params.b));
      room(1, bytes(spec_.a, spec_.params.a));
      if ((spec_.epilogue & blas::kBias) != 0) {
        room(2, static_cast<size_t>(spec_.y.rows) * bytes_of(spec_.params.bias));
      }
      room(3, bytes(spec_.added, spec_.result));
      room(4, bytes(spec_.y, spec_.result));
      room(5, workspace);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::out_of_memory) throw;
      return 0;
    }
    const Described d(*this, operands.at[2]);
    int64_t best = 0;
    double least = INFINITY;
    for (size_t i = 0; i < candidates.size(); ++i) {
      const double seconds = functions.seconds_of([&](CUstream stream) {
        multiply(d, operands, operands.at[3], spec_.params.beta, candidates[i],
                 candidates[i].workspace_bytes, stream);
      });
      if (seconds < least) best = static_cast<int64_t>(i);
      least = std::min(least, seconds);
    }
    return best;
  }

  static constexpr size_t kUsualAlignment = 16;
  static constexpr blas::Status kNotSupported = 15;

  /// The algorithms that cuBLASLt thinks best for operands so aligned, the best first.
  std::vector<blas::Candidate> ranked(size_t alignment, size_t workspace, int wanted) const {
    const blas::Library& lt = blas::library();
    static const char aligned[256] = {};  // only that it is a pointer matters here
    const Described d(*this, aligned);
    Owned<blas::Preference> preference(lt.MatmulPreferenceDestroy);
    blas::check(lt.MatmulPreferenceCreate(&preference.value), "MatmulPreferenceCreate");
    const auto set = [&](int attribute, auto given) {
      blas::check(
          lt.MatmulPreferenceSetAttribute(preference.value, attribute, &given, sizeof(given)),
          "MatmulPreferenceSetAttribute");
    };
    set(blas::kMostWorkspace, workspace);
    for (const int operand :
         {blas::kAlignmentA, blas::kAlignmentB, blas::kAlignmentC, blas::kAlignmentD}) {
      set(operand, static_cast<uint32_t>(alignment));
    }
    std::vector<blas::Candidate> found(static_cast<size_t>(wanted));
    int count = 0;
    const blas::Status status =
        lt.MatmulAlgoGetHeuristic(handle_, d.operation.value, d.b.value, d.a.value, d.added.value,
                                  d.y.value, preference.value, wanted, found.data(), &count);
    found.resize(status == 0 ? static_cast<size_t>(count) : 0);
    std::erase_if(found, [](const blas::Candidate& each) { return each.status != 0; });
    return found;
  }

  blas::Handle handle_;
  BlasSpec spec_;
  std::optional<blas::Candidate> chosen_;
};

/// Bias, activation and residual of sums that are in the scratch as float32, rounded once.
Launch finish(Functions& functions, const Product& product, size_t sums_offset) {
  constexpr unsigned kThreads = 256;
  ProductParams params = product.params;
  params.alpha = 1;  // the sums have it
  Launch launch;
  launch.function = functions.find("product_finish");
  launch.threads = kThreads;
  launch.grid[0] = blocks_for(params.rows * params.columns, kThreads, functions);
  launch.grid[1] = static_cast<unsigned>(product.matrices);
  launch.operands = product.operands;
  launch.operands[0] = {Use::Of::scratch, 0, sums_offset};
  launch.operands[1] = {Use::Of::none, 0, 0};
  launch.params = bytes_of_params(params);
  return launch;
}

/// The stride from one matrix of a batch to the next, where there is but one.
std::optional<int64_t> batch_stride(const Walk& walk, int tensor) {
  if (walk.dims != 1) return std::nullopt;
  return walk.strides[tensor][0];
}

}  // namespace

std::optional<Kernel> blas_product(Functions& functions, device::PackedWeights& choices,
                                   const Product& product, size_t scratch_offset) {
  constexpr int64_t kMostMatrices = 65535;  // along a grid's second dim
  const ProductParams& p = product.params;
  const bool has_bias = product.operands[2].of != Use::Of::none;
  const bool has_added = product.operands[3].of != Use::Of::none;
  const bool is_result = p.y == p.a || p.y == Type::float32;
  if (p.a != p.b || !is_result || p.depth == 0) return std::nullopt;
  const auto a_batch = batch_stride(p.batch, 0), b_batch = batch_stride(p.batch, 1);
  const auto added_batch = batch_stride(p.batch, 2);
  if (!a_batch || !b_batch || !added_batch) return std::nullopt;
  const auto a = stored(p.depth, p.rows, p.a_depth, p.a_row, *a_batch);
  const auto b = stored(p.columns, p.depth, p.b_column, p.b_depth, *b_batch);
  const auto added = stored(p.columns, p.rows, p.added_column, p.added_row, *added_batch);
  if (!a || !b) return std::nullopt;

  // An epilogue adds before it activates, and knows but a vector of bias and two activations.
  // Whatever it does not fit is a launch of its own, on sums that are not rounded yet.
  const bool activates = p.activation != Activation::none;
  const bool bias_fits = !has_bias || (p.bias == p.y && p.bias_column == 1 && p.bias_row == 0);
  const bool added_fits =
      !has_added || (!activates && p.added == p.y && added && !added->transposed);
  const bool activation_fits =
      !activates || p.activation == Activation::relu || p.activation == Activation::gelu_tanh;
  const bool whole = bias_fits && added_fits && activation_fits;
  if (!whole && product.matrices > kMostMatrices) return std::nullopt;
  BlasSpec spec{p, product.matrices, blas::kNone, *a, *b, {}, {}, whole ? p.y : Type::float32};
  spec.y = {p.columns, p.rows, p.columns, p.rows * p.columns, false};
  spec.added = whole && has_added ? *added : spec.y;
  if (whole && (has_bias || activates)) {
    spec.epilogue =
        (has_bias ? blas::kBias : 0u) | (p.activation == Activation::relu        ? blas::kRelu
                                         : p.activation == Activation::gelu_tanh ? blas::kGeluTanh
                                                                                 : 0u);
  }
  auto call = std::make_shared<BlasCall>(functions, choices, spec);
  if (!call->is_possible()) return std::nullopt;

  const auto aligned = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
  const Use none{Use::Of::none, 0, 0};
  const size_t workspace = aligned(call->workspace_bytes());
  const size_t sums_offset = scratch_offset + workspace;
  call->operands = {
      product.operands[1], product.operands[0], none, none, product.operands[4], none};
  if (workspace > 0) call->operands[5] = {Use::Of::scratch, 0, scratch_offset};
  Kernel kernel;
  kernel.scratch = sums_offset;
  if (whole) {
    call->operands[2] = product.operands[2];
    call->operands[3] = product.operands[3];
    kernel.work.push_back({{}, std::move(call)});
    return kernel;
  }
  call->operands[4] = {Use::Of::scratch, 0, sums_offset};
  kernel.scratch += static_cast<size_t>(product.matrices * p.rows * p.columns) * sizeof(float);
  kernel.work.push_back({{}, std::move(call)});
  kernel.work.push_back({finish(functions, product, sums_offset), nullptr});
  return kernel;
}

}  // namespace ostinato::cuda
