#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/tensor.h"

namespace ostinato::importer {

/// A JSON object of a model's configuration, read field by field. Every field must be claimed: a
/// reader asks for those it honours and names those that change nothing, and `refuse_unclaimed`
/// then refuses the others, so that no field that alters the arithmetic is passed over in silence.
///
/// A null is an error where a value is needed, and counts as absent where the reader allows for
/// none. Errors are `invalid_argument` and name file, field, what was expected and what was got.
class Fields {
 public:
  /// @param object must outlive this
  /// @param source the file, for errors
  /// @param path where the object stands in the file, such as `rope_parameters`; empty for the top
  Fields(const Json& object, std::string source, std::string path = "");

  bool contains(std::string_view name) const;  ///< the field is there, be it null
  bool has(std::string_view name) const;       ///< the field is there and not null

  /// A size: from 1 to 2^24. Without a fallback the field must be there.
  int64_t size(std::string_view name, std::optional<int64_t> fallback = {});
  int64_t integer(std::string_view name, std::optional<int64_t> fallback, int64_t low,
                  int64_t high);
  /// Finite.
  double real(std::string_view name, std::optional<double> fallback);
  bool flag(std::string_view name, bool fallback);
  std::string text(std::string_view name, std::optional<std::string> fallback = {});
  std::optional<int64_t> optional_size(std::string_view name);
  std::optional<double> optional_real(std::string_view name);
  std::optional<std::string> optional_text(std::string_view name);
  std::vector<std::string> texts(std::string_view name);
  /// An integer, or a list of them; empty when absent.
  std::vector<int64_t> integers(std::string_view name);
  std::optional<Fields> object(std::string_view name);
  /// The field as it is; null when absent.
  const Json& raw(std::string_view name);

  /// Fields that change nothing in what the engine computes, whatever their values.
  void ignore(std::initializer_list<std::string_view> names);

  /// The field, where it is there, must have this value: the engine computes nothing else.
  /// @param remedy what the user can do about another value
  void require(std::string_view name, const Json& value, std::string_view remedy);

  /// Throws `unsupported` naming the fields that nobody claimed.
  void refuse_unclaimed() const;

  /// Throws `invalid_argument` about this field.
  template <typename... Args>
  [[noreturn]] void reject(std::string_view name, std::string_view remedy,
                           fmt::format_string<Args...> message, Args&&... args) const {
    fail(ErrorCode::invalid_argument, "import/config", remedy, "{}: field '{}': {}", source_,
         path_of(name), fmt::format(message, std::forward<Args>(args)...));
  }
  /// The same with `unsupported`: the value is right, but the engine does not offer it.
  template <typename... Args>
  [[noreturn]] void refuse(std::string_view name, std::string_view remedy,
                           fmt::format_string<Args...> message, Args&&... args) const {
    fail(ErrorCode::unsupported, "import/config", remedy, "{}: field '{}': {}", source_,
         path_of(name), fmt::format(message, std::forward<Args>(args)...));
  }

 private:
  const Json* claim(std::string_view name);  ///< null when the field is absent or null
  const Json* need(std::string_view name, bool has_fallback);  ///< null when it is absent
  std::string path_of(std::string_view name) const;

  const Json* object_;
  std::string source_, path_;
  std::set<std::string, std::less<>> claimed_;
};

/// A JSON file of a model folder; throws `not_found` when it is not there and `corrupt` when it is
/// no JSON object.
Json read_json_object(const std::filesystem::path& path);

/// What says how to continue a text, from generation_config.json and, for fields that are not
/// there, config.json.
struct GenerationConfig {
  std::optional<int64_t> bos, pad;
  std::vector<int64_t> eos;
  /// Settings that would change a greedy continuation and that the engine does not apply, such as
  /// `repetition_penalty 1.1`.
  std::vector<std::string> unsupported;
};

/// @param folder may lack generation_config.json
/// @param config the fields of config.json, of which the ids are claimed
GenerationConfig read_generation_config(const std::filesystem::path& folder, Fields& config);

/// The names of a classifier's outputs: `id2label`, or `LABEL_0` … `LABEL_n` for `num_labels`,
/// which is 2 where the config says nothing. Claims the fields.
std::vector<std::string> read_labels(Fields& config);

/// The dtype that `dtype` or the older `torch_dtype` names; none when neither is there. Claims
/// both.
std::optional<DType> read_dtype(Fields& config);

}  // namespace ostinato::importer
