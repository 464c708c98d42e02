#include "device/amx_emulator.h"
#include "device/kernel_case.h"

namespace ostinato::cpu {

device::Device* device_under_test() { return nullptr; }

std::vector<Isa> isas_under_test() {
  std::vector<Isa> isas = available_isas();
  if (isas.back() == Isa::avx512_bf16) {  // all that AMX's kernels need besides
    emulate_amx();
    isas.push_back(Isa::amx);
  }
  return isas;
}

}  // namespace ostinato::cpu
