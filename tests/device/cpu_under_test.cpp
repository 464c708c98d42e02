#include "device/kernel_case.h"

namespace ostinato::cpu {

device::Device* device_under_test() { return nullptr; }

}  // namespace ostinato::cpu
