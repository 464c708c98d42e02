#pragma once

#include <string_view>
#include <vector>

namespace ostinato::cpu {

/// Levels of instruction sets, each with all of those before it. `sse2` is what every x86-64 has;
/// `avx512` stands for F, BW, DQ and VL; `amx` for tiles of bfloat16.
enum class Isa { sse2, sse4, avx2, avx512, avx512_bf16, amx };

/// The name in `OSTINATO_ISA` and in reports: that of the enumerator.
std::string_view name_of(Isa isa);

/// The levels that this machine and its operating system offer, lowest first.
const std::vector<Isa>& available_isas();

/// The level that kernels use: the highest there is, or the lower one that `OSTINATO_ISA` names.
/// Throws `invalid_argument` listing the levels for a name that is none of them.
Isa isa();

/// Limits the kernels made from now on to a level of `available_isas()`; for tests.
void use_isa(Isa isa);

}  // namespace ostinato::cpu
