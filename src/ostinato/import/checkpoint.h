#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/import/safetensors.h"
#include "ostinato/tensor.h"

namespace ostinato::importer {

/// What `new_model` writes into the metadata of its weights, so that nobody takes them for trained
/// ones later: `weights` is `random`, `seed` is the seed in decimal digits.
inline constexpr std::string_view kWeightsKey = "weights";
inline constexpr std::string_view kRandomWeights = "random";
inline constexpr std::string_view kSeedKey = "seed";

/// The weights of a model folder: `model.safetensors`, or the shards that
/// `model.safetensors.index.json` names. All files are mapped, none is read before a tensor of it
/// is.
class Checkpoint {
 public:
  /// Throws `not_found` for a folder without weights or a missing shard, and `corrupt` where index
  /// and shards disagree.
  static Checkpoint open(const std::filesystem::path& folder);

  const std::vector<SafetensorsFile>& shards() const { return shards_; }

  /// Sorted.
  std::vector<std::string> names() const;
  bool contains(std::string_view tensor) const { return shard_of_.contains(tensor); }

  /// These throw `not_found` for an unknown tensor and `unsupported` for a dtype the engine has
  /// not.
  TensorInfo info(std::string_view tensor) const { return file_of(tensor).info(tensor); }
  Tensor get(std::string_view tensor) const { return file_of(tensor).get(tensor); }

  /// Whether some file's metadata say that its weights are random (see `kWeightsKey`).
  bool is_random() const;

  /// The file that holds the tensor.
  const SafetensorsFile& file_of(std::string_view tensor) const;

  /// Throws `corrupt` naming file, tensor and offset where a floating tensor holds a NaN or an
  /// infinity. Reads the whole tensor.
  void require_finite(std::string_view tensor) const;

 private:
  void open_shards(const std::filesystem::path& folder, const std::filesystem::path& index);

  std::filesystem::path folder_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, size_t, std::less<>> shard_of_;
};

/// The index of the first NaN or infinity of a floating tensor.
std::optional<int64_t> find_non_finite(const Tensor& tensor);

}  // namespace ostinato::importer
