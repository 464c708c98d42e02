#include "ostinato/import/safetensors_writer.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "ostinato/base/atomic_file.h"
#include "ostinato/base/error.h"
#include "ostinato/base/json.h"

namespace ostinato::importer {

namespace {

constexpr std::string_view kStage = "export/safetensors";
constexpr size_t kAlignment = 8;

std::string_view format_name(DType dtype) {
  switch (dtype) {
    case DType::float32: return "F32";
    case DType::bfloat16: return "BF16";
    case DType::float16: return "F16";
    case DType::int64: return "I64";
    case DType::int32: return "I32";
    case DType::uint8: return "U8";
    case DType::boolean: return "BOOL";
  }
  __builtin_unreachable();
}

using Named = std::pair<std::string, Tensor>;

/// Widest dtype first, so that each tensor begins at a multiple of its own width; then by name.
std::vector<const Named*> in_file_order(const std::vector<Named>& tensors) {
  std::vector<const Named*> order;
  order.reserve(tensors.size());
  for (const Named& named : tensors) order.push_back(&named);
  std::sort(order.begin(), order.end(), [](const Named* a, const Named* b) {
    const size_t a_size = size_of(a->second.dtype());
    const size_t b_size = size_of(b->second.dtype());
    return a_size != b_size ? a_size > b_size : a->first < b->first;
  });
  return order;
}

std::string header_of(const std::vector<const Named*>& order,
                      const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const Named* named : order) {
    const auto& [name, tensor] = *named;
    if (name == "__metadata__" || header.contains(name)) {
      fail(ErrorCode::invalid_argument, kStage, "Give each tensor a name of its own.",
           "expected distinct tensor names other than __metadata__, got {}", quote(name));
    }
    const size_t end = offset + tensor.bytes();
    header[name] = {{"dtype", format_name(tensor.dtype())},
                    {"shape", tensor.shape()},
                    {"data_offsets", std::array{offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::ordered_json::type_error&) {
    fail(ErrorCode::invalid_argument, kStage, "Write names and metadata in UTF-8.",
         "expected names and metadata in UTF-8");
  }
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, const std::vector<Named>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const Progress& progress) {
  const auto order = in_file_order(tensors);
  const std::string header = header_of(order, metadata);
  const uint64_t length = header.size();
  AtomicFile file(path);
  file.write(&length, sizeof(length));
  file.write(header);
  size_t total = 0, written = 0;
  for (const Named* named : order) total += named->second.bytes();
  for (const Named* named : order) {
    file.write(named->second.data(), named->second.bytes());
    written += named->second.bytes();
    if (progress)
      progress("writing weights", static_cast<double>(written) / static_cast<double>(total));
  }
  file.commit();
}

}  // namespace ostinato::importer
