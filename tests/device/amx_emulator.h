#pragma once

namespace ostinato::cpu {

/// From now on the instructions for AMX's tiles and bfloat16 work in this process on any processor:
/// where it has none, what they raise is caught, and they are done in software as the Intel SDM
/// (volume 2) describes each. What would be a fault of theirs ends the process with a line that
/// says why.
void emulate_amx();

/// How many tile registers of this thread hold something, all instructions having been emulated.
int tiles_in_use();

}  // namespace ostinato::cpu
