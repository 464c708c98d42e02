// What the machine gives at most, all threads at once: fused multiply-adds in fp32, dot products of
// bf16 pairs (on AMX's tiles where there are some), and reads from memory.
#include <benchmark/benchmark.h>
#include <hwy/cache_control.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "micro/ceilings.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ostinato::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int kSums = 12;  // independent ones: enough to hide the latency of a multiply-add

/// FLOPs done.
double multiply_add(int64_t steps) {
  const hn::ScalableTag<float> d;
  const auto half = hn::Set(d, 0.5f);
  // Of different starts, or the compiler would see that they are all the same.
  auto s0 = hn::Iota(d, 0), s1 = hn::Iota(d, 1), s2 = hn::Iota(d, 2), s3 = hn::Iota(d, 3);
  auto s4 = hn::Iota(d, 4), s5 = hn::Iota(d, 5), s6 = hn::Iota(d, 6), s7 = hn::Iota(d, 7);
  auto s8 = hn::Iota(d, 8), s9 = hn::Iota(d, 9), s10 = hn::Iota(d, 10), s11 = hn::Iota(d, 11);
  for (int64_t i = 0; i < steps; ++i) {
    s0 = hn::MulAdd(s0, half, half);
    s1 = hn::MulAdd(s1, half, half);
    s2 = hn::MulAdd(s2, half, half);
    s3 = hn::MulAdd(s3, half, half);
    s4 = hn::MulAdd(s4, half, half);
    s5 = hn::MulAdd(s5, half, half);
    s6 = hn::MulAdd(s6, half, half);
    s7 = hn::MulAdd(s7, half, half);
    s8 = hn::MulAdd(s8, half, half);
    s9 = hn::MulAdd(s9, half, half);
    s10 = hn::MulAdd(s10, half, half);
    s11 = hn::MulAdd(s11, half, half);
  }
  const auto sum = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)),
                           hn::Add(hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)),
                                   hn::Add(hn::Add(s8, s9), hn::Add(s10, s11))));
  benchmark::DoNotOptimize(hn::GetLane(hn::SumOfLanes(d, sum)));
  return 2.0 * kSums * static_cast<double>(steps) * static_cast<double>(hn::Lanes(d));
}

/// Reads all, each line asked for 2 KiB before it is used.
void read(const uint8_t* data, size_t bytes) {
  const hn::ScalableTag<uint8_t> d;
  constexpr size_t kBlock = 256, kAhead = 2048;
  auto sum = hn::Zero(d);
  for (size_t at = 0; at < bytes; at += kBlock) {
    for (size_t line = 0; line < kBlock; line += 64) hwy::Prefetch(data + at + kAhead + line);
    for (size_t i = 0; i < kBlock; i += hn::Lanes(d)) {
      sum = hn::Xor(sum, hn::Load(d, data + at + i));
    }
  }
  benchmark::DoNotOptimize(hn::GetLane(sum));
}

}  // namespace ostinato::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <immintrin.h>

#include "ostinato/base/threads.h"
#include "ostinato/device/cpu/isa.h"

namespace ostinato {
namespace {

HWY_EXPORT(multiply_add);
HWY_EXPORT(read);

/// FLOPs done; for machines that have the instruction, which Debian 12's Highway does not know.
__attribute__((target("avx512f,avx512bf16"))) double dot_pairs(int64_t steps) {
  const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
  __m512 sums[12];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < steps; ++i) {
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, ones, ones);
  }
  benchmark::DoNotOptimize(sums);
  return 2.0 * 12 * 32 * static_cast<double>(steps);
}

/// FLOPs done, on four sums of 16 × 16 and inner dims of 32.
__attribute__((target("amx-tile,amx-bf16"))) double dot_tiles(int64_t steps) {
  struct alignas(64) {
    uint8_t palette = 1, unused[15] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16};
  } const shapes;
  benchmark::DoNotOptimize(&shapes);
  benchmark::ClobberMemory();  // the compiler does not know what the next line reads
  _tile_loadconfig(&shapes);
  for (int64_t i = 0; i < steps; ++i) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 5);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 5);
  }
  _tile_release();
  return 4.0 * 2 * 16 * 16 * 32 * static_cast<double>(steps);
}

template <typename Work>
void measure_flops(benchmark::State& state, const Work& work) {
  ThreadTeam team(default_threads());
  std::vector<double> flops(static_cast<size_t>(team.size()));
  for (auto _ : state) {
    team.run([&](Worker worker) { flops[static_cast<size_t>(worker.index)] += work(4'000'000); });
  }
  state.counters["FLOP/s"] = benchmark::Counter(std::accumulate(flops.begin(), flops.end(), 0.0),
                                                benchmark::Counter::kIsRate);
}

void fp32(benchmark::State& state) {
  measure_flops(state, [](int64_t steps) { return HWY_DYNAMIC_DISPATCH(multiply_add)(steps); });
}

void bf16(benchmark::State& state) {
  if (cpu::isa() < cpu::Isa::avx512_bf16) {
    state.SkipWithError("this processor has no AVX-512-BF16");
    return;
  }
  measure_flops(state, cpu::isa() >= cpu::Isa::amx ? dot_tiles : dot_pairs);
}

void memory(benchmark::State& state) {
  constexpr size_t kBytes = size_t{256} << 20, kHugePage = size_t{2} << 20;
  ThreadTeam team(default_threads());
  std::vector<std::unique_ptr<void, decltype(&std::free)>> buffers;
  for (int i = 0; i < team.size(); ++i) {
    void* memory = std::aligned_alloc(kHugePage, kBytes + kHugePage);  // prefetches go beyond
    madvise(memory, kBytes + kHugePage, MADV_HUGEPAGE);
    std::memset(memory, 1, kBytes + kHugePage);
    buffers.emplace_back(memory, &std::free);
  }
  for (auto _ : state) {
    team.run([&](Worker worker) {
      const void* data = buffers[static_cast<size_t>(worker.index)].get();
      HWY_DYNAMIC_DISPATCH(read)(static_cast<const uint8_t*>(data), kBytes);
    });
  }
  state.counters["B/s"] = benchmark::Counter(static_cast<double>(buffers.size() * kBytes),
                                             benchmark::Counter::kIsIterationInvariantRate);
}

BENCHMARK(fp32)->Name("ceiling/fp32")->UseRealTime();
BENCHMARK(bf16)->Name("ceiling/bf16")->UseRealTime();
BENCHMARK(memory)->Name("ceiling/memory")->UseRealTime();

}  // namespace
}  // namespace ostinato
#endif
