#include "ostinato/import/random_weights.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ostinato/base/dtype.h"

namespace ostinato::importer {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint64_t key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  auto key0 = static_cast<uint32_t>(key);
  auto key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0];
    const uint64_t product1 = kMultiplier1 * counter[2];
    counter = {
        static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(product1),
        static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(product0)};
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  return counter;
}

uint64_t random_key(uint64_t seed, std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char letter : name) {
    hash = (hash ^ static_cast<uint8_t>(letter)) * 0x100000001b3;
  }
  // SplitMix64's finaliser: near seeds and names give far keys.
  uint64_t mixed = hash + seed * 0x9e3779b97f4a7c15;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
  return mixed ^ (mixed >> 31);
}

namespace {

/// Four standard normals by Box and Muller's transform of the block's words.
std::array<float, 4> normals(uint64_t block, uint32_t attempt, uint64_t key) {
  const std::array<uint32_t, 4> words =
      philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), attempt, 0}, key);
  std::array<float, 4> result;
  for (size_t pair = 0; pair < 4; pair += 2) {
    // In (0, 1]: the logarithm is finite, and 2^-33 lets the tail reach 6.7 deviations.
    const float uniform = (static_cast<float>(words[pair]) + 0.5f) * 0x1p-32f;
    const float angle =
        static_cast<float>(words[pair + 1]) * (2 * std::numbers::pi_v<float> * 0x1p-32f);
    const float radius = std::sqrt(-2.0f * std::log(std::min(uniform, 1.0f)));
    result[pair] = radius * std::cos(angle);
    result[pair + 1] = radius * std::sin(angle);
  }
  return result;
}

/// The same, with those outside ±bound drawn anew.
std::array<float, 4> truncated_normals(uint64_t block, uint64_t key, float bound) {
  std::array<float, 4> result = normals(block, 0, key);
  for (size_t i = 0; i < result.size(); ++i) {
    for (uint32_t attempt = 1; std::abs(result[i]) > bound; ++attempt) {
      result[i] = normals(block, attempt, key)[i];
    }
  }
  return result;
}

template <typename T>
void fill_normal(T* values, const Init& init, uint64_t key, int64_t begin, int64_t end) {
  const auto deviation = static_cast<float>(init.deviation);
  const float bound = init.kind == Init::Kind::truncated_normal
                          ? 2.0f / deviation
                          : std::numeric_limits<float>::infinity();
  for (int64_t i = begin; i < end; i += 4) {
    const auto block = static_cast<uint64_t>(i / 4);
    const std::array<float, 4> four =
        std::isinf(bound) ? normals(block, 0, key) : truncated_normals(block, key, bound);
    const int64_t count = std::min<int64_t>(4, end - i);
    for (int64_t k = 0; k < count; ++k) {
      values[i + k] = from_float<T>(four[static_cast<size_t>(k)] * deviation);
    }
  }
}

}  // namespace

void fill_random(Tensor& weight, const Init& init, uint64_t key, int64_t begin, int64_t end) {
  dispatch(weight.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (is_floating_v<T>) {
      T* values = weight.as<T>();
      if (init.kind == Init::Kind::zeros || init.kind == Init::Kind::ones) {
        std::fill(values + begin, values + end,
                  from_float<T>(init.kind == Init::Kind::ones ? 1.0f : 0.0f));
        return;
      }
      fill_normal(values, init, key, begin, end);
      if (init.zero_row) {
        const int64_t row = weight.shape().back();
        const int64_t from = std::clamp(*init.zero_row * row, begin, end);
        const int64_t to = std::clamp((*init.zero_row + 1) * row, begin, end);
        std::fill(values + from, values + to, from_float<T>(0.0f));
      }
    }
  });
}

}  // namespace ostinato::importer
