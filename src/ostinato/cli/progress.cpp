#include "ostinato/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace ostinato::cli {

namespace {

constexpr std::chrono::seconds kPatience{2};
constexpr int kWidth = 24;
constexpr size_t kTextWidth = 50;

}  // namespace

ProgressBar::ProgressBar()
    : start_(std::chrono::steady_clock::now()), terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (drawn_ && terminal_) fmt::print(stderr, "\r\x1b[K");
}

void ProgressBar::show(std::string_view what, double share) {
  if (std::chrono::steady_clock::now() - start_ < kPatience) return;
  drawn_ = true;
  const double bounded = std::clamp(share, 0.0, 1.0);
  if (!terminal_) {
    fmt::print(stderr, "{:3.0f} % {}\n", 100 * bounded, what);
    return;
  }
  const int full = static_cast<int>(bounded * kWidth);
  std::string bar;
  for (int i = 0; i < kWidth; ++i) bar += i < full ? "█" : "░";
  fmt::print(stderr, "\r\x1b[K{} {:3.0f} % {}", bar, 100 * bounded, what.substr(0, kTextWidth));
  std::fflush(stderr);
}

}  // namespace ostinato::cli
