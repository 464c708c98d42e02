#pragma once

#include <stdexcept>
#include <string>

/// Marks what the shared library offers; everything else in it is hidden.
#define OSTINATO_API __attribute__((visibility("default")))

namespace ostinato {

/// What kind of thing went wrong. The `ostinato` command ends with exit code 130 for `interrupted`
/// and with 2 for all others.
enum class ErrorCode {
  invalid_argument,  ///< a flag, a shape, a dtype or a call that cannot be right
  not_found,         ///< a file, tensor, operator or device that is not there
  unsupported,       ///< understood, but not offered
  corrupt,           ///< a damaged or lying file
  io,                ///< the operating system refused
  out_of_memory,     ///< a plan or a buffer larger than what there is
  internal,          ///< a defect of the engine
  interrupted,       ///< the user's Ctrl-C
};

/// The only exception that the engine throws of itself; beside it there is `std::bad_alloc` from
/// the standard library. `what()` is `[stage] message. hint`, on one line:
///
///     [runtime/context] expected float32 for the input 'x', got int64. Convert the input.
///
/// Whatever throws one leaves its object as it was, unless it says otherwise.
class OSTINATO_API Error : public std::runtime_error {
 public:
  /// @param stage where it happened, such as `import/safetensors` or `ops/aten.cat`
  /// @param message what was expected and what was got, without a final full stop
  /// @param hint the remedy, one or more whole sentences
  Error(ErrorCode code, std::string stage, std::string message, std::string hint);

  ErrorCode code() const { return code_; }
  const std::string& stage() const { return stage_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorCode code_;
  std::string stage_, message_, hint_;
};

}  // namespace ostinato
