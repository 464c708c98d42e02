#include "device/cuda/fake_blas.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "device/cuda/fake_driver.h"
#include "ostinato/base/float16.h"
#include "ostinato/device/cuda/blas.h"

namespace ostinato::cuda {

namespace {

using namespace blas;

FakeBlas blas_state;

struct FakeOperation {
  int32_t transpose_a = 0, transpose_b = 0;
  uint32_t epilogue = kNone;
  const void* bias = nullptr;
  int32_t bias_type = CUDA_R_32F;
};
struct FakeLayout {
  cudaDataType_t type;
  int64_t rows, columns, lead;
  int32_t count = 1;
  int64_t stride = 0;

  // What cuBLASLt refuses.
  bool is_valid() const { return lead >= rows && rows > 0 && columns > 0 && count > 0; }
};

FakeOperation& of(Operation operation) { return *reinterpret_cast<FakeOperation*>(operation); }
FakeLayout& of(Layout layout) { return *reinterpret_cast<FakeLayout*>(layout); }

float get(const void* data, int64_t at, int type) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[at];
  if (type == CUDA_R_16F) return to_float(static_cast<const float16*>(data)[at]);
  return to_float(static_cast<const bfloat16*>(data)[at]);
}

void set(void* data, int64_t at, int type, float value) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(data)[at] = value;
  } else if (type == CUDA_R_16F) {
    static_cast<float16*>(data)[at] = from_float<float16>(value);
  } else {
    static_cast<bfloat16*>(data)[at] = from_float<bfloat16>(value);
  }
}

constexpr Status kInvalid = 7;

/// As cuBLASLt's documentation defines it, column by column.
struct Call {
  FakeOperation operation;
  FakeLayout a, b, c, d;
  const void *a_data, *b_data, *c_data;
  void* d_data;
  float alpha, beta;

  int64_t depth() const { return operation.transpose_a != 0 ? a.rows : a.columns; }
  bool is_valid() const {
    const int64_t rows = operation.transpose_a != 0 ? a.columns : a.rows;
    const int64_t columns = operation.transpose_b != 0 ? b.rows : b.columns;
    const int64_t b_depth = operation.transpose_b != 0 ? b.columns : b.rows;
    return a.is_valid() && b.is_valid() && c.is_valid() && d.is_valid() && depth() == b_depth &&
           d.rows == rows && d.columns == columns && c.rows == rows && c.columns == columns &&
           a.count == d.count && b.count == d.count;
  }

  float activated(float x) const {
    if ((operation.epilogue & kRelu) != 0) return std::max(x, 0.0f);
    if ((operation.epilogue & kGeluTanh) != 0) {
      return 0.5f * x * (1 + std::tanh(0.79788456f * (x + 0.044715f * x * x * x)));
    }
    return x;
  }

  void operator()() const {
    for (int64_t n = 0; n < d.count; ++n) {
      for (int64_t j = 0; j < d.columns; ++j) {
        for (int64_t i = 0; i < d.rows; ++i) run(n, i, j);
      }
    }
  }

  void run(int64_t n, int64_t i, int64_t j) const {
    float sum = 0;
    for (int64_t k = 0; k < depth(); ++k) {
      const int64_t left = operation.transpose_a != 0 ? k + i * a.lead : i + k * a.lead;
      const int64_t right = operation.transpose_b != 0 ? j + k * b.lead : k + j * b.lead;
      sum += get(a_data, n * a.stride + left, a.type) * get(b_data, n * b.stride + right, b.type);
    }
    sum *= alpha;
    if (beta != 0) sum += beta * get(c_data, n * c.stride + i + j * c.lead, c.type);
    if ((operation.epilogue & kBias) != 0) sum += get(operation.bias, i, operation.bias_type);
    set(d_data, n * d.stride + i + j * d.lead, d.type, activated(sum));
  }
};

Library make() {
  Library fake;
  fake.Create = [](Handle* handle) {
    *handle = reinterpret_cast<Handle>(new char);
    return 0;
  };
  fake.MatmulDescCreate = [](Operation* operation, int compute, cudaDataType_t scale) {
    *operation = reinterpret_cast<Operation>(new FakeOperation);
    return compute == kComputeFloat32 && scale == CUDA_R_32F ? 0 : kInvalid;
  };
  fake.MatmulDescDestroy = [](Operation operation) { return delete &of(operation), 0; };
  fake.MatmulDescSetAttribute = [](Operation operation, int which, const void* from, size_t bytes) {
    FakeOperation& to = of(operation);
    const auto take = [&](auto& member) {
      if (bytes != sizeof(member)) return kInvalid;
      std::memcpy(&member, from, bytes);
      return 0;
    };
    switch (which) {
      case kTransposeA: return take(to.transpose_a);
      case kTransposeB: return take(to.transpose_b);
      case kEpilogue: return take(to.epilogue);
      case kBiasPointer: return take(to.bias);
      case kBiasType: return take(to.bias_type);
      default: return kInvalid;
    }
  };
  fake.MatrixLayoutCreate = [](Layout* layout, cudaDataType_t type, uint64_t rows, uint64_t columns,
                               int64_t lead) {
    *layout = reinterpret_cast<Layout>(
        new FakeLayout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), lead});
    return 0;
  };
  fake.MatrixLayoutDestroy = [](Layout layout) { return delete &of(layout), 0; };
  fake.MatrixLayoutSetAttribute = [](Layout layout, int which, const void* from, size_t bytes) {
    void* to = which == kBatchCount ? static_cast<void*>(&of(layout).count) : &of(layout).stride;
    if (bytes != (which == kBatchCount ? sizeof(int32_t) : sizeof(int64_t))) return kInvalid;
    std::memcpy(to, from, bytes);
    return 0;
  };
  fake.MatmulPreferenceCreate = [](Preference* preference) {
    *preference = reinterpret_cast<Preference>(new char);
    return 0;
  };
  fake.MatmulPreferenceDestroy = [](Preference preference) {
    return delete reinterpret_cast<char*>(preference), 0;
  };
  fake.MatmulPreferenceSetAttribute = [](Preference, int, const void*, size_t) { return 0; };
  fake.MatmulAlgoGetHeuristic = [](Handle, Operation operation, Layout a, Layout b, Layout c,
                                   Layout d, Preference, int wanted, Candidate* candidates,
                                   int* found) {
    const Call call{of(operation), of(a),   of(b),   of(c), of(d), nullptr,
                    nullptr,       nullptr, nullptr, 1,     0};
    *found = std::min(wanted, blas_state.candidates);
    for (int i = 0; i < *found; ++i) {
      candidates[i] = {{{static_cast<uint64_t>(i)}}, 256, call.is_valid() ? 0 : kInvalid, 1, {}};
    }
    return 0;
  };
  fake.Matmul = [](Handle, Operation operation, const void* alpha, const void* a_data, Layout a,
                   const void* b_data, Layout b, const void* beta, const void* c_data, Layout c,
                   void* d_data, Layout d, const Algorithm* algorithm, void* workspace,
                   size_t workspace_bytes, CUstream stream) {
    const Call call{of(operation),
                    of(a),
                    of(b),
                    of(c),
                    of(d),
                    a_data,
                    b_data,
                    c_data,
                    d_data,
                    *static_cast<const float*>(alpha),
                    *static_cast<const float*>(beta)};
    if (!call.is_valid() || workspace == nullptr) return kInvalid;
    ++blas_state.products;
    blas_state.last = algorithm->data[0];
    const bool slow = algorithm->data[0] != blas_state.fastest;
    queue_on(stream, [call, workspace, workspace_bytes, slow] {
      if (slow) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      std::memset(workspace, 0x5a, workspace_bytes);
      call();
    });
    return 0;
  };
  return fake;
}

}  // namespace

void use_fake_blas() {
  static const Library fake = make();
  use_library(&fake);
  blas_state = {};
}

FakeBlas& fake_blas() { return blas_state; }

}  // namespace ostinato::cuda
