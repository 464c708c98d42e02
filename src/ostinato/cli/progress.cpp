#include "ostinato/cli/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "ostinato/cli/output.h"

namespace ostinato::cli {

namespace {

constexpr std::chrono::seconds kPatience{2};
constexpr std::chrono::milliseconds kRedraw{100};
constexpr std::chrono::seconds kNextLine{5};
constexpr int kWidth = 24;
constexpr size_t kTextWidth = 50;

bool can_redraw() {
  const char* terminal = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && terminal != nullptr && std::string_view(terminal) != "dumb";
}

}  // namespace

ProgressBar::ProgressBar() : terminal_(can_redraw()) {}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::clear() {
  if (drawn_) print_error("\r\x1b[K");
  drawn_ = false;
}

void ProgressBar::show(std::string_view what, double share) {
  const Clock::time_point now = Clock::now();
  if (now - start_ < kPatience) return;
  if (share >= 1) return clear();
  if (what == shown_ && now - shown_at_ < (terminal_ ? Clock::duration(kRedraw) : kNextLine))
    return;
  shown_ = what;
  shown_at_ = now;
  const double bounded = std::max(share, 0.0);
  if (!terminal_) return print_error("{:3.0f} % {}\n", 100 * bounded, what);
  const int full = static_cast<int>(bounded * kWidth);
  std::string bar;
  for (int i = 0; i < kWidth; ++i) bar += i < full ? "█" : "░";
  print_error("\r\x1b[K{} {:3.0f} % {}", bar, 100 * bounded, what.substr(0, kTextWidth));
  drawn_ = true;
}

}  // namespace ostinato::cli
