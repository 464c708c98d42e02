#include "ostinato/import/random_weights.h"

#include <algorithm>
#include <bit>
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

/// -ln(u) for u in (0, 1]. By u = m·2^e with m near 1, and ln m = 2 artanh((m-1)/(m+1)).
float minus_log(float u) {
  const auto bits = std::bit_cast<int32_t>(u);
  constexpr int32_t kRootHalf = 0x3f3504f3;  // so that m is in [√½, √2)
  const int32_t exponent = (bits - kRootHalf) >> 23;
  const auto m = std::bit_cast<float>(bits - (exponent << 23));
  const float t = (m - 1) / (m + 1);
  const float square = t * t;
  const float series =
      1 + square * (1.f / 3 + square * (1.f / 5 + square * (1.f / 7 + square / 9)));
  return -std::numbers::ln2_v<float> * static_cast<float>(exponent) - 2 * t * series;
}

struct Point {
  float cos, sin;
};

/// The point of the unit circle at 2π·word/2^32: Taylor's series within an eighth of the circle
/// either side of an axis, then turned by quarters.
Point on_circle(uint32_t word) {
  const uint32_t quarter = (word + 0x20000000u) >> 30;
  const auto offset = static_cast<float>(static_cast<int32_t>(word - (quarter << 30)));
  const float x = offset * (2 * std::numbers::pi_v<float> * 0x1p-32f);
  const float q = x * x;
  const float sin = x * (1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72))));
  const float cos = 1 - q / 2 * (1 - q / 12 * (1 - q / 30 * (1 - q / 56)));
  const float c = (quarter & 1) != 0 ? -sin : cos;
  const float s = (quarter & 1) != 0 ? cos : sin;
  return (quarter & 2) != 0 ? Point{-c, -s} : Point{c, s};
}

constexpr size_t kBatch = 64;  ///< blocks of four made at once, in loops that vectorise

struct Batch {
  std::array<std::array<float, kBatch>, 4> normals;  ///< of block k: normals[0…3][k]
};

/// Standard normals by Box and Muller's transform of the words of blocks first, first+1, …. Only
/// additions, multiplications, divisions and roots, which IEEE 754 defines to the bit: the C
/// library's functions differ from machine to machine.
void make_normals(uint64_t first, uint32_t attempt, uint64_t key, Batch& batch) {
  std::array<std::array<uint32_t, kBatch>, 4> words;
  for (size_t k = 0; k < kBatch; ++k) {
    const uint64_t block = first + k;
    const auto four =
        philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), attempt, 0}, key);
    for (size_t i = 0; i < 4; ++i) words[i][k] = four[i];
  }
  for (size_t pair = 0; pair < 4; pair += 2) {
    std::array<float, kBatch> square, cos, sin;
    for (size_t k = 0; k < kBatch; ++k) {
      const auto word = static_cast<int32_t>(words[pair][k] >> 8);
      square[k] = 2 * minus_log((static_cast<float>(word) + 0.5f) * 0x1p-24f);
      const Point point = on_circle(words[pair + 1][k]);
      cos[k] = point.cos;
      sin[k] = point.sin;
    }
    for (size_t k = 0; k < kBatch; ++k) {
      const float radius = std::sqrt(square[k]);
      batch.normals[pair][k] = radius * cos[k];
      batch.normals[pair + 1][k] = radius * sin[k];
    }
  }
}

/// The normal of an element, drawn anew as long as it is outside ±bound.
float truncated(float z, uint64_t element, uint64_t key, float bound) {
  Batch batch;
  for (uint32_t attempt = 1; std::abs(z) > bound; ++attempt) {
    make_normals(element / 4, attempt, key, batch);
    z = batch.normals[element % 4][0];
  }
  return z;
}

template <typename T>
void fill_normal(T* values, const Init& init, uint64_t key, int64_t begin, int64_t end) {
  constexpr auto kStep = static_cast<int64_t>(4 * kBatch);
  const auto deviation = static_cast<float>(init.deviation);
  const bool truncates = init.kind == Init::Kind::truncated_normal;
  Batch batch;
  for (int64_t i = begin; i < end; i += kStep) {
    make_normals(static_cast<uint64_t>(i / 4), 0, key, batch);
    const auto count = static_cast<size_t>(std::min(kStep, end - i));
    for (size_t k = 0; k < count; ++k) {
      float z = batch.normals[k % 4][k / 4];
      if (truncates) z = truncated(z, static_cast<uint64_t>(i) + k, key, 2 / deviation);
      values[i + static_cast<int64_t>(k)] = from_float<T>(z * deviation);
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
