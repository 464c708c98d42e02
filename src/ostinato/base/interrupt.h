#pragma once

#include <cstddef>
#include <string>

namespace ostinato {

/// Makes Ctrl-C (SIGINT) and SIGTERM remove every registered temporary file, show the terminal's
/// cursor again, and end the process at once with exit code 130 (143 for SIGTERM).
void install_interrupt_handler();

/// While it lives, an interrupt removes the file of this path. The path is registered before the
/// file is made, so that no moment is left in between.
class InterruptCleanup {
 public:
  /// Throws `io` for a path longer than the system's limit and when 64 of them live already.
  explicit InterruptCleanup(const std::string& path);
  ~InterruptCleanup();
  InterruptCleanup(const InterruptCleanup&) = delete;
  InterruptCleanup& operator=(const InterruptCleanup&) = delete;

 private:
  size_t slot_;
};

}  // namespace ostinato
