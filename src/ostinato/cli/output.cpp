#include "ostinato/cli/output.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ostinato/base/error.h"

namespace ostinato::cli {

namespace {

[[noreturn]] void fail_to_write(int error) {
  fail(ErrorCode::io, "cli/output", "Check where stdout goes, and the space there.",
       "could not write to stdout: {}", std::strerror(error));
}

}  // namespace

void guard_standard_files() {
  for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest free number is the one that `open` gives, which is this one.
    if (::fcntl(file, F_GETFD) < 0 && ::open("/dev/null", O_RDONLY) != file) ::_exit(2);
  }
}

void write_output(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) fail_to_write(errno);
}

void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) fail_to_write(errno);
}

}  // namespace ostinato::cli
