#include "ostinato/import/checkpoint.h"

#include <algorithm>
#include <utility>

#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/base/mapped_file.h"

namespace ostinato::importer {

namespace {

constexpr std::string_view kStage = "import/weights";
constexpr std::string_view kFetch = "Fetch the model's folder again, with all its files.";

/// The tensors of each shard as the index tells them, sorted.
std::map<std::string, std::vector<std::string>> read_index(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->data()), file->size());
  const Json index = parse_json(text, kStage, path.string());
  const auto found = index.is_object() ? index.find("weight_map") : index.end();
  if (found == index.end() || !found->is_object()) {
    fail(ErrorCode::corrupt, kStage, kFetch, "expected an object weight_map in {}", path.string());
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, shard] : found->items()) {
    if (!shard.is_string()) {
      fail(ErrorCode::corrupt, kStage, kFetch, "expected a file name for tensor {} in {}, got {}",
           quote(tensor), path.string(), shard.type_name());
    }
    shards[shard.get<std::string>()].push_back(tensor);
  }
  return shards;
}

bool stays_inside(const std::filesystem::path& relative) {
  return relative.is_relative() && relative.has_filename() &&
         std::none_of(relative.begin(), relative.end(),
                      [](const auto& part) { return part == ".." || part == "."; });
}

template <typename Bits>
std::optional<int64_t> find_all_ones(const Bits* values, int64_t count, Bits exponent) {
  constexpr int64_t kBlock = 4096;  // a block without a branch is vectorised
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, count);
    Bits any = 0;
    for (int64_t i = begin; i < end; ++i) any |= (values[i] & exponent) == exponent;
    if (any == 0) continue;
    return std::find_if(values + begin, values + end,
                        [&](Bits bits) { return (bits & exponent) == exponent; }) -
           values;
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> find_non_finite(const Tensor& tensor) {
  // Infinities and NaNs are what has all bits of the exponent set.
  switch (tensor.dtype()) {
    case DType::float32: return find_all_ones(tensor.as<uint32_t>(), tensor.numel(), 0x7f800000u);
    case DType::bfloat16:
      return find_all_ones<uint16_t>(tensor.as<uint16_t>(), tensor.numel(), 0x7f80);
    case DType::float16:
      return find_all_ones<uint16_t>(tensor.as<uint16_t>(), tensor.numel(), 0x7c00);
    default: return std::nullopt;
  }
}

Checkpoint Checkpoint::open(const std::filesystem::path& folder) {
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  const auto single = folder / "model.safetensors";
  const auto index = folder / "model.safetensors.index.json";
  if (std::filesystem::exists(single)) {
    checkpoint.shards_.push_back(SafetensorsFile::open(single));
    for (auto& tensor : checkpoint.shards_.back().names()) {
      checkpoint.shard_of_.emplace(std::move(tensor), 0);
    }
  } else if (std::filesystem::exists(index)) {
    checkpoint.open_shards(folder, index);
  } else {
    const bool pickled = std::filesystem::exists(folder / "pytorch_model.bin");
    fail(ErrorCode::not_found, kStage,
         pickled
             ? "Load the model in transformers and save_pretrained() it: that writes safetensors."
             : "Check the path, or fetch the model with its weights.",
         "expected model.safetensors or model.safetensors.index.json in {}{}", folder.string(),
         pickled ? ", got pytorch_model.bin only" : "");
  }
  return checkpoint;
}

void Checkpoint::open_shards(const std::filesystem::path& folder,
                             const std::filesystem::path& index) {
  for (const auto& [shard, tensors] : read_index(index)) {
    if (!stays_inside(shard)) {
      fail(ErrorCode::corrupt, kStage, kFetch, "expected files inside the folder in {}, got {}",
           index.string(), quote(shard));
    }
    if (!std::filesystem::exists(folder / shard)) {
      fail(ErrorCode::not_found, kStage, kFetch,
           "there is no shard {}, in which {} says {} and {} more tensors are",
           (folder / shard).string(), index.string(), quote(tensors.front()), tensors.size() - 1);
    }
    SafetensorsFile file = SafetensorsFile::open(folder / shard);
    for (const std::string& tensor : tensors) {
      if (!file.contains(tensor)) {
        fail(ErrorCode::corrupt, kStage, kFetch, "expected tensor {} in {}, as {} says",
             quote(tensor), file.name(), index.string());
      }
      shard_of_.emplace(tensor, shards_.size());
    }
    for (const std::string& tensor : file.names()) {
      if (!std::binary_search(tensors.begin(), tensors.end(), tensor)) {
        fail(ErrorCode::corrupt, kStage, kFetch, "tensor {} is in {}, but {} does not say so",
             quote(tensor), file.name(), index.string());
      }
    }
    shards_.push_back(std::move(file));
  }
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> names;
  names.reserve(shard_of_.size());
  for (const auto& entry : shard_of_) names.push_back(entry.first);
  return names;
}

bool Checkpoint::is_random() const {
  return std::any_of(shards_.begin(), shards_.end(), [](const SafetensorsFile& file) {
    const auto found = file.metadata().find(std::string(kWeightsKey));
    return found != file.metadata().end() && found->second == kRandomWeights;
  });
}

const SafetensorsFile& Checkpoint::file_of(std::string_view tensor) const {
  const auto found = shard_of_.find(tensor);
  if (found == shard_of_.end()) {
    fail(ErrorCode::not_found, kStage, "Check that the weights belong to the model's config.json.",
         "there is no tensor {} in {}", quote(tensor), folder_.string());
  }
  return shards_[found->second];
}

void Checkpoint::require_finite(std::string_view tensor) const {
  const SafetensorsFile& file = file_of(tensor);
  const Tensor values = file.get(tensor);
  if (const auto index = find_non_finite(values)) {
    fail(ErrorCode::corrupt, kStage, "Fetch the weights again, or ask who made them.",
         "expected finite weights, got a NaN or an infinity in tensor {} at index {} (offset {}) "
         "of {}",
         quote(tensor), *index,
         file.offset(tensor) + static_cast<uint64_t>(*index) * size_of(values.dtype()),
         file.name());
  }
}

}  // namespace ostinato::importer
