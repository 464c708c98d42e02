#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "ostinato/base/progress.h"

namespace ostinato::cli {

/// What a long verb is doing: a bar that redraws itself on a terminal, and goes when all is done;
/// plain lines elsewhere, one for each thing that is done and one every few seconds. Both are on
/// stderr. Nothing is shown before two seconds have passed.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// @param share in [0, 1]
  void show(std::string_view what, double share);

  /// Calls `show`; must not outlive the bar.
  Progress callback() {
    return [this](std::string_view what, double share) { show(what, share); };
  }

 private:
  using Clock = std::chrono::steady_clock;

  void clear();

  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_at_;  ///< the last time
  std::string shown_;           ///< what was shown then
  bool terminal_;
  bool drawn_ = false;  ///< on the terminal, now
};

}  // namespace ostinato::cli
