#include <fmt/format.h>
#include <hwy/base.h>
#include <hwy/highway.h>

#include "ostinato/device/device.h"

namespace ostinato::device {

std::map<std::string, std::string> versions() {
  return {{"highway", fmt::format("{}.{}.{}", HWY_MAJOR, HWY_MINOR, HWY_PATCH)},
#ifdef __clang__
          {"compiler", "clang " __clang_version__}};
#else
          {"compiler", "gcc " __VERSION__}};
#endif
}

}  // namespace ostinato::device
