#include "ostinato/bench/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "support/temporary_folder.h"

namespace ostinato::bench {
namespace {

constexpr size_t kBytes = size_t{64} << 20;
constexpr size_t kSlack = size_t{2} << 20;  // the kernel counts in batches of pages

/// Fills a mapping, waits until a watch must have seen it, and gives it back.
void fill_for_a_while(int flags, int file) {
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags, file, 0);
  ASSERT_NE(memory, MAP_FAILED);
  std::memset(memory, 1, kBytes);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  munmap(memory, kBytes);
}

TEST(AnonymousPeak, SeesMemoryThatIsGoneAgain) {
  AnonymousPeak peak;
  const size_t before = peak.bytes();
  {
    const AnonymousPeak::Watch watch(peak);
    fill_for_a_while(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  }
  EXPECT_GE(peak.bytes() + kSlack, before + kBytes);
  EXPECT_LT(anonymous_bytes(), before + kBytes / 2);
  EXPECT_GE(peak_resident_bytes() + kSlack, peak.bytes());
}

TEST(AnonymousPeak, SeesNothingUnwatched) {
  AnonymousPeak peak;
  const size_t before = peak.bytes();
  fill_for_a_while(MAP_PRIVATE | MAP_ANONYMOUS, -1);
  EXPECT_LT(peak.bytes(), before + kBytes / 2);
}

TEST(AnonymousPeak, LeavesMappedFilesOut) {
  const TemporaryFolder folder;
  const auto path = folder.file("data", "");
  std::filesystem::resize_file(path, kBytes);
  std::FILE* file = std::fopen(path.c_str(), "r+");
  AnonymousPeak peak;
  const size_t before = peak.bytes();
  {
    const AnonymousPeak::Watch watch(peak);
    fill_for_a_while(MAP_SHARED, fileno(file));
  }
  std::fclose(file);
  EXPECT_LT(peak.bytes(), before + kBytes / 2);
}

}  // namespace
}  // namespace ostinato::bench
