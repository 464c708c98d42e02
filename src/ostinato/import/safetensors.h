#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/tensor.h"

namespace ostinato {
class MappedFile;
}

namespace ostinato::importer {

struct TensorInfo {
  DType dtype;
  std::vector<int64_t> shape;
};

/// A safetensors file, held in memory as it is (format: huggingface.co/docs/safetensors). Opening
/// checks the whole header as strictly as the reference implementation: every tensor's offsets
/// agree with its dtype and shape, and together the tensors cover the data without a gap or an
/// overlap. Errors are `corrupt` and name file, tensor and offset.
///
/// Tensors of a dtype that the engine has not (F64, F8_E4M3, …) may be in the file; asking for one
/// throws `unsupported`.
class SafetensorsFile {
 public:
  static SafetensorsFile open(const std::filesystem::path& path);

  /// The file's bytes, which `owner` keeps alive; `name` stands for the path in errors.
  static SafetensorsFile parse(std::span<const uint8_t> bytes, std::shared_ptr<const void> owner,
                               std::string name);

  /// The file that `open` mapped; null after `parse`.
  const std::shared_ptr<const MappedFile>& mapping() const { return mapping_; }

  /// The path, or the name given to `parse`.
  const std::string& name() const { return name_; }

  /// Sorted.
  std::vector<std::string> names() const;
  bool contains(std::string_view tensor) const { return entries_.contains(tensor); }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// `info`, `get` and `offset` throw `not_found` for a tensor that is not in the file.
  TensorInfo info(std::string_view tensor) const;

  /// The tensor in place, read-only and without a copy; only data that the file does not align to
  /// the dtype's size is copied.
  Tensor get(std::string_view tensor) const;

  /// Where the tensor's data begin, in bytes from the start of the file.
  uint64_t offset(std::string_view tensor) const;

 private:
  struct Entry {
    std::string dtype;  ///< as in the file: F32, BF16, …
    std::vector<int64_t> shape;
    uint64_t begin, end;  ///< bytes from the start of the file
  };
  class HeaderReader;

  const Entry& entry(std::string_view tensor) const;
  DType dtype_of_entry(std::string_view tensor, const Entry& entry) const;

  std::string name_;
  std::span<const uint8_t> bytes_;
  std::shared_ptr<const void> owner_;
  std::shared_ptr<const MappedFile> mapping_;
  std::map<std::string, Entry, std::less<>> entries_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace ostinato::importer
