#include "ostinato/base/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

/// The number behind `name` in a file of lines `name number …`; 0 where there is none.
size_t read_field(const std::filesystem::path& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    size_t value = 0;
    if (word == name && file >> value) return value;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

std::optional<size_t> read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  size_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;
}

size_t machine_memory() {
  constexpr std::string_view kPath = "/proc/meminfo";  // in KiB
  const size_t available = read_field(kPath, "MemAvailable:");
  if (available == 0) return std::numeric_limits<size_t>::max();  // it does not say
  return (available + read_field(kPath, "SwapFree:")) * 1024;
}

/// What control groups (version 2) leave; the largest number where none has a limit.
size_t group_memory() {
  size_t least = std::numeric_limits<size_t>::max();
  std::string group;
  std::ifstream("/proc/self/cgroup") >> group;  // 0::/user.slice
  if (!group.starts_with("0::/")) return least;
  const std::filesystem::path root = "/sys/fs/cgroup";
  for (std::filesystem::path folder = root / group.substr(4);; folder = folder.parent_path()) {
    const auto limit = read_number(folder / "memory.max");  // none for `max`
    const auto used = read_number(folder / "memory.current");
    if (limit && used) {
      const size_t cached = read_field(folder / "memory.stat", "inactive_file");
      least = std::min(least, *limit - std::min(*limit, *used - std::min(*used, cached)));
    }
    if (folder == root || !folder.has_relative_path()) return least;
  }
}

}  // namespace

size_t available_memory() { return std::min(machine_memory(), group_memory()); }

void require_memory(size_t bytes, std::string_view what, std::string_view remedy) {
  const size_t available = available_memory();
  if (bytes <= available) return;
  fail(ErrorCode::out_of_memory, "memory", remedy, "expected {} to fit into memory, got {} of {}",
       what, human_bytes(bytes), human_bytes(available));
}

std::shared_ptr<void> allocate_packed(size_t bytes) {
  constexpr size_t kLine = 64;
  const size_t whole = bytes / kHugePage * kHugePage;  // the rest in small pages, not to waste any
  const size_t alignment = whole > 0 ? kHugePage : kLine;
  void* memory = std::aligned_alloc(
      alignment, std::max<size_t>(1, (bytes + alignment - 1) / alignment) * alignment);
  if (memory == nullptr) {
    fail(ErrorCode::out_of_memory, "memory", "Use a smaller dtype or free some memory.",
         "cannot get {} bytes for packed weights", bytes);
  }
  if (whole > 0) madvise(memory, whole, MADV_HUGEPAGE);  // a wish: refusal only costs speed
  return {memory, std::free};
}

std::string human_bytes(size_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace ostinato
