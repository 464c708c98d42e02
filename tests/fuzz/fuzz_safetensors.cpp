// Any bytes are a file that reads or an Error; every tensor of a file that reads can be got whole.
#include <cstdint>
#include <vector>

#include "ostinato/error.h"
#include "ostinato/import/checkpoint.h"
#include "ostinato/import/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ostinato;
  try {
    const auto file = importer::SafetensorsFile::parse({data, size}, nullptr, "fuzz");
    for (const auto& name : file.names()) {
      try {
        importer::find_non_finite(file.get(name));
      } catch (const Error& error) {
        if (error.code() != ErrorCode::unsupported) throw;
      }
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
