#include "ostinato/import/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>

#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/base/mapped_file.h"

namespace ostinato::importer {

namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data are little-endian");

constexpr std::string_view kStage = "import/safetensors";
constexpr std::string_view kDamaged = "The file is damaged: fetch or save it again.";
constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr std::string_view kMetadata = "__metadata__";

struct FormatDType {
  std::string_view name;
  uint64_t bits;
  std::optional<DType> dtype;  ///< none where the engine has no such dtype
};

constexpr std::array<FormatDType, 22> kDTypes = {{
    {"F32", 32, DType::float32},
    {"BF16", 16, DType::bfloat16},
    {"F16", 16, DType::float16},
    {"I64", 64, DType::int64},
    {"I32", 32, DType::int32},
    {"U8", 8, DType::uint8},
    {"BOOL", 8, DType::boolean},
    {"F64", 64, {}},
    {"I8", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"U32", 32, {}},
    {"U64", 64, {}},
    {"C64", 64, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"F4", 4, {}},
}};

const FormatDType* find_dtype(std::string_view name) {
  const auto found = std::find_if(kDTypes.begin(), kDTypes.end(),
                                  [&](const FormatDType& row) { return row.name == name; });
  return found == kDTypes.end() ? nullptr : &*found;
}

/// The product of the sizes; nothing where it overflows, also hidden behind a size of zero, since
/// strides are products too.
std::optional<uint64_t> element_count(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  bool any_zero = false;
  for (int64_t size : shape) {
    any_zero |= size == 0;
    if (size != 0 && __builtin_mul_overflow(product, size, &product)) return std::nullopt;
  }
  return any_zero ? 0 : static_cast<uint64_t>(product);
}

}  // namespace

/// Fills a file's entries and metadata from its header.
class SafetensorsFile::HeaderReader {
 public:
  explicit HeaderReader(SafetensorsFile& file) : file_(file) {}

  void read() {
    const std::string_view text = header_text();
    data_begin_ = kLengthBytes + text.size();
    // The root, a tensor's object, and its lists.
    const Json header = parse_json(text, kStage, "the header of " + file_.name_, 3);
    if (!header.is_object()) damaged("expected a JSON object as header");
    for (const auto& [key, value] : header.items()) {
      if (key == kMetadata) {
        read_metadata(value);
      } else {
        file_.entries_.emplace(key, read_entry(key, value));
      }
    }
    check_coverage();
  }

 private:
  template <typename... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> message, Args&&... args) const {
    fail(ErrorCode::corrupt, kStage, kDamaged, "{} in {}",
         fmt::format(message, std::forward<Args>(args)...), file_.name_);
  }

  std::string_view header_text() const {
    const auto bytes = file_.bytes_;
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (text.starts_with("version https://git-lfs")) {
      fail(ErrorCode::corrupt, kStage, "Fetch the weights: git lfs pull.",
           "expected weights, got a Git LFS pointer in {}", file_.name_);
    }
    if (bytes.size() < kLengthBytes) {
      damaged("expected 8 bytes of header length at offset 0, got {} bytes", bytes.size());
    }
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), kLengthBytes);
    if (length > kMaxHeader) {
      damaged("expected a header of at most {} bytes, got a length of {} at offset 0", kMaxHeader,
              length);
    }
    if (length > bytes.size() - kLengthBytes) {
      damaged("expected a header of {} bytes at offset 8, got {} bytes", length,
              bytes.size() - kLengthBytes);
    }
    if (length == 0 || text[kLengthBytes] != '{') damaged("expected '{{' at offset 8");
    return text.substr(kLengthBytes, length);
  }

  void read_metadata(const Json& value) {
    if (!value.is_object()) damaged("expected an object of strings as __metadata__");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string()) {
        damaged("expected a string as __metadata__ entry {}, got {}", quote(key), text.type_name());
      }
      file_.metadata_.emplace(key, text.get<std::string>());
    }
  }

  Entry read_entry(const std::string& tensor, const Json& value) const {
    static constexpr std::array<std::string_view, 3> kFields = {"dtype", "shape", "data_offsets"};
    if (!value.is_object()) {
      damaged("expected an object for tensor {}, got {}", quote(tensor), value.type_name());
    }
    for (std::string_view field : kFields) {
      if (!value.contains(field)) damaged("expected a {} for tensor {}", field, quote(tensor));
    }
    if (value.size() > kFields.size()) {
      damaged("expected only dtype, shape and data_offsets for tensor {}", quote(tensor));
    }
    const Json& dtype_name = value["dtype"];
    const FormatDType* dtype =
        dtype_name.is_string() ? find_dtype(dtype_name.get_ref<const std::string&>()) : nullptr;
    if (dtype == nullptr) {
      damaged("expected a dtype of the format for tensor {}, got {}", quote(tensor),
              dtype_name.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    Entry entry{std::string(dtype->name), read_shape(tensor, value["shape"]), 0, 0};
    read_offsets(tensor, value["data_offsets"], *dtype, entry);
    return entry;
  }

  std::vector<int64_t> read_shape(const std::string& tensor, const Json& sizes) const {
    std::vector<int64_t> shape;
    bool valid = sizes.is_array();
    for (size_t i = 0; valid && i < sizes.size(); ++i) {
      valid = sizes[i].is_number_unsigned() && sizes[i].get<uint64_t>() <= INT64_MAX;
      if (valid) shape.push_back(sizes[i].get<int64_t>());
    }
    if (!valid) {
      damaged("expected a list of sizes as shape of tensor {}, got {}", quote(tensor),
              sizes.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    return shape;
  }

  void read_offsets(const std::string& tensor, const Json& offsets, const FormatDType& dtype,
                    Entry& entry) const {
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned()) {
      damaged("expected two offsets for tensor {}, got {}", quote(tensor),
              offsets.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
    const auto begin = offsets[0].get<uint64_t>();
    const auto end = offsets[1].get<uint64_t>();
    const uint64_t data_size = file_.bytes_.size() - data_begin_;
    if (begin > end || end > data_size) {
      damaged("expected tensor {} within the {} bytes of data, got data_offsets [{}, {}]",
              quote(tensor), data_size, begin, end);
    }
    const auto count = element_count(entry.shape);
    uint64_t bits = 0;
    if (!count || __builtin_mul_overflow(*count, dtype.bits, &bits)) {
      damaged("expected a shape that fits in memory for tensor {}, got {}", quote(tensor),
              fmt::join(entry.shape, "×"));
    }
    if (bits % 8 != 0 || bits / 8 != end - begin) {
      damaged("expected {} bits for tensor {} of {} {}, got data_offsets [{}, {}]", bits,
              quote(tensor), dtype.name, fmt::join(entry.shape, "×"), begin, end);
    }
    entry.begin = data_begin_ + begin;
    entry.end = data_begin_ + end;
  }

  /// In the order of their offsets each tensor begins where the one before ends, from the start of
  /// the data to the end of the file.
  void check_coverage() const {
    std::vector<std::pair<const std::string*, const Entry*>> order;
    for (const auto& [tensor, entry] : file_.entries_) order.emplace_back(&tensor, &entry);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
    });
    uint64_t covered = data_begin_;
    for (const auto& [tensor, entry] : order) {
      if (entry->begin != covered) {
        damaged("expected tensor {} at offset {}, got {} ({})", quote(*tensor), covered,
                entry->begin, entry->begin < covered ? "an overlap" : "a gap before it");
      }
      covered = entry->end;
    }
    if (covered != file_.bytes_.size()) {
      damaged("expected the file to end with its last tensor at offset {}, got {} bytes", covered,
              file_.bytes_.size());
    }
  }

  SafetensorsFile& file_;
  uint64_t data_begin_ = 0;
};

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  const auto mapping = MappedFile::open(path);
  SafetensorsFile file = parse(mapping->bytes(), mapping, path.string());
  file.mapping_ = mapping;
  return file;
}

SafetensorsFile SafetensorsFile::parse(std::span<const uint8_t> bytes,
                                       std::shared_ptr<const void> owner, std::string name) {
  SafetensorsFile file;
  file.bytes_ = bytes;
  file.owner_ = std::move(owner);
  file.name_ = std::move(name);
  HeaderReader(file).read();
  return file;
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  names.reserve(entries_.size());
  for (const auto& entry : entries_) names.push_back(entry.first);
  return names;
}

const SafetensorsFile::Entry& SafetensorsFile::entry(std::string_view tensor) const {
  const auto found = entries_.find(tensor);
  if (found == entries_.end()) {
    fail(ErrorCode::not_found, kStage, "Check that the weights belong to this model.",
         "there is no tensor {} in {}", quote(tensor), name_);
  }
  return found->second;
}

DType SafetensorsFile::dtype_of_entry(std::string_view tensor, const Entry& entry) const {
  const auto dtype = find_dtype(entry.dtype)->dtype;
  if (!dtype) {
    fail(ErrorCode::unsupported, kStage, "Convert the weights to F32, BF16 or F16.",
         "tensor {} in {} has dtype {}, which the engine has not", quote(tensor), name_,
         entry.dtype);
  }
  return *dtype;
}

TensorInfo SafetensorsFile::info(std::string_view tensor) const {
  const Entry& found = entry(tensor);
  return {dtype_of_entry(tensor, found), found.shape};
}

Tensor SafetensorsFile::get(std::string_view tensor) const {
  const Entry& found = entry(tensor);
  const DType dtype = dtype_of_entry(tensor, found);
  const uint8_t* data = bytes_.data() + found.begin;
  if (reinterpret_cast<uintptr_t>(data) % size_of(dtype) != 0) {
    Tensor copy = Tensor::empty(dtype, found.shape);
    std::memcpy(copy.data(), data, found.end - found.begin);
    return copy;
  }
  return Tensor::borrow(const_cast<uint8_t*>(data), dtype, found.shape, owner_);
}

uint64_t SafetensorsFile::offset(std::string_view tensor) const { return entry(tensor).begin; }

}  // namespace ostinato::importer
