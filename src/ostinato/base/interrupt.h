#pragma once

#include <cstddef>
#include <string>

namespace ostinato {

/// Makes Ctrl-C (SIGINT), SIGTERM, and SIGHUP unless it is ignored (nohup), remove every registered
/// file and end the process at once with exit code 130. A bus error, which is how a mapped file
/// tells that it was cut or its disk failed, does the same with a message and exit code 2. A limit
/// on file sizes becomes an error of the write instead of a signal.
void install_interrupt_handler();

/// While it lives, an interrupt removes the file of this path, or the folder if nothing but
/// registered files is in it. The path is registered before the file is made, so that no moment is
/// left in between.
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
