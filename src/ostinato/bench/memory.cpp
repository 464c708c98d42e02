#include "ostinato/bench/memory.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <string>

namespace ostinato::bench {

namespace {

constexpr std::chrono::milliseconds kPeriod{1};

}  // namespace

size_t peak_resident_bytes() {
  constexpr std::string_view kKey = "VmHWM:";
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(kKey)) return std::stoull(line.substr(kKey.size())) * 1024;
  }
  return 0;
}

size_t anonymous_bytes() {
  // In pages: all of the program, what is resident, and what of that is backed by files or shared.
  size_t size = 0, resident = 0, backed = 0;
  std::ifstream("/proc/self/statm") >> size >> resident >> backed;
  return (resident - std::min(resident, backed)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

AnonymousPeak::Watch::Watch(AnonymousPeak& peak)
    : peak_(peak), thread_([this] {
        while (!stop_.load(std::memory_order_relaxed)) {
          peak_.look();
          std::this_thread::sleep_for(kPeriod);
        }
      }) {}

AnonymousPeak::Watch::~Watch() {
  stop_.store(true, std::memory_order_relaxed);
  thread_.join();
  peak_.look();
}

void AnonymousPeak::look() {
  const size_t now = anonymous_bytes();
  size_t seen = bytes_.load(std::memory_order_relaxed);
  while (now > seen && !bytes_.compare_exchange_weak(seen, now, std::memory_order_relaxed)) {
  }
}

size_t AnonymousPeak::bytes() {
  look();
  return bytes_.load(std::memory_order_relaxed);
}

}  // namespace ostinato::bench
