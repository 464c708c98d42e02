#include "ostinato/base/error.h"
#include "ostinato/device/cpu/cpu_device.h"
#include "ostinato/device/null/null_device.h"

namespace ostinato::device {

std::vector<Device*> all() { return {&cpu::cpu_device(), &null_device()}; }

Device& get(std::string_view name) {
  std::string names;
  for (Device* device : all()) {
    if (device->name() == name) return *device;
    names += (names.empty() ? "" : ", ") + std::string(device->name());
  }
  fail(ErrorCode::not_found, "device", fmt::format("Devices of this build: {}.", names),
       "there is no device '{}'", name);
}

}  // namespace ostinato::device
