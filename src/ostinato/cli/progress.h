#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace ostinato::cli {

/// What a long verb is doing: a bar that redraws itself on a terminal, plain lines elsewhere, both
/// on stderr. Nothing is shown before two seconds have passed.
class ProgressBar {
 public:
  ProgressBar();
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// @param share in [0, 1]
  void show(std::string_view what, double share);

 private:
  std::chrono::steady_clock::time_point start_;
  bool terminal_;
  bool drawn_ = false;
};

}  // namespace ostinato::cli
