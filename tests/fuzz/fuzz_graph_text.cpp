// Any bytes are a graph that reads or an Error; a graph that reads prints as text that reads back
// to the same.
#include <cstdint>
#include <string_view>

#include "ostinato/error.h"
#include "ostinato/ir/text.h"
#include "ostinato/ops/ops.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ostinato;
  std::string printed;
  try {
    printed = print(ir::parse({reinterpret_cast<const char*>(data), size}, ops::table()));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupt) __builtin_trap();
    return 0;
  }
  if (print(ir::parse(printed, ops::table())) != printed) __builtin_trap();
  return 0;
}
