#include "ostinato/device/cpu/isa.h"

#include <cpuid.h>
#include <fmt/ranges.h>
#include <hwy/targets.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "ostinato/base/error.h"

namespace ostinato::cpu {

namespace {

constexpr std::array<std::string_view, 6> kNames = {"sse2",   "sse4",        "avx2",
                                                    "avx512", "avx512_bf16", "amx"};

// Highway's targets for a level. Ours of AVX-512 and above share one: what lies between them
// matters to matrix products only.
int64_t highway_targets(Isa isa) {
  int64_t targets = HWY_STATIC_TARGET;
  if (isa >= Isa::sse4) targets |= HWY_SSE4;
  if (isa >= Isa::avx2) targets |= HWY_AVX2;
  if (isa >= Isa::avx512) targets |= HWY_AVX3;
  return targets;
}

struct Features {
  bool avx512_bf16 = false, amx = false;
};

// Linux saves the tiles of those processes only that have asked (arch_prctl, since 5.16).
bool may_use_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// What Highway does not tell.
Features detect_features() {
  Features result;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) result.avx512_bf16 = (a >> 5 & 1u) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
    constexpr unsigned kAmx = 1u << 22 | 1u << 24;  // bf16, tile
    result.amx = (d & kAmx) == kAmx && may_use_tiles();
  }
  return result;
}

std::vector<Isa> detect() {
  std::vector<Isa> found = {Isa::sse2};
  const int64_t targets = hwy::SupportedTargets();
  if ((targets & HWY_SSE4) == 0) return found;
  found.push_back(Isa::sse4);
  if ((targets & HWY_AVX2) == 0) return found;
  found.push_back(Isa::avx2);
  if ((targets & HWY_AVX3) == 0) return found;
  found.push_back(Isa::avx512);
  const Features features = detect_features();
  if (!features.avx512_bf16) return found;
  found.push_back(Isa::avx512_bf16);
  if (features.amx) found.push_back(Isa::amx);
  return found;
}

Isa from_environment() {
  const std::vector<Isa>& available = available_isas();
  const char* text = std::getenv("OSTINATO_ISA");
  if (text == nullptr || *text == '\0') return available.back();
  std::vector<std::string_view> names;
  for (Isa isa : available) {
    if (name_of(isa) == text) return isa;
    names.push_back(name_of(isa));
  }
  fail(ErrorCode::invalid_argument, "device/cpu", "Set OSTINATO_ISA to one of those, or unset it.",
       "expected one of {} in OSTINATO_ISA, got '{}'", fmt::join(names, ", "), text);
}

std::atomic<Isa>& chosen() {
  static std::atomic<Isa> instance = [] {
    const Isa isa = from_environment();
    hwy::DisableTargets(~highway_targets(isa));
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    return isa;
  }();
  return instance;
}

}  // namespace

std::string_view name_of(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> instance = detect();
  return instance;
}

Isa isa() { return chosen().load(); }

void use_isa(Isa isa) {
  chosen().store(isa);
  hwy::DisableTargets(~highway_targets(isa));
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace ostinato::cpu
