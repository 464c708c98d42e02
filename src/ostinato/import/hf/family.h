#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ostinato/import/config.h"
#include "ostinato/import/hf/modules.h"
#include "ostinato/import/inputs.h"

namespace ostinato::importer {

/// A model class of transformers, such as `ViTForImageClassification`, with its configuration read.
class Architecture {
 public:
  virtual ~Architecture() = default;

  /// The class's `forward`, from its inputs to its outputs. Symbols: `b` is the batch, `s` the
  /// tokens of each sequence.
  virtual void forward(Net& net) const = 0;
  virtual std::vector<InputSpec> inputs() const = 0;

  /// Names of what the logits mean; empty where there is no classifier.
  virtual std::vector<std::string> labels() const { return {}; }

  /// Weights that are another's under a second name: that name, and the parameter's.
  virtual std::vector<std::pair<std::string, std::string>> tied() const { return {}; }

  /// Whether it continues texts, and so has a decoder.
  virtual bool generates() const { return false; }
  /// See `Model::decoder`.
  virtual void decoder(Net& net, std::optional<int64_t> capacity) const;
};

/// What a family's reader gets.
struct Request {
  std::string_view architecture;
  Fields& config;
  /// Whether the weights have a module of that name, as the checkpoint of the base model names it:
  /// for parts such as `pooler` that a class may be saved without.
  std::function<bool(std::string_view module)> has_module;
};

/// One `model_type` of transformers.
struct Family {
  std::string_view model_type;
  std::string_view base_class;   ///< the class without a head
  std::string_view base_prefix;  ///< what the other classes call the base model: `vit`, `bert`
  std::vector<std::string_view> classes;
  /// Parts of weights' names as some transformers versions save them, and what they are here; the
  /// first that fits is taken, and each is tried.
  std::vector<std::pair<std::string_view, std::string_view>> renames;
  /// Endings of names of tensors that may be in a checkpoint though nothing is computed with them.
  std::vector<std::string_view> harmless;
  std::unique_ptr<Architecture> (*read)(const Request& request);
};

const Family& vit_family();
const Family& bert_family();
const Family& qwen3_family();

/// All of them.
const std::vector<const Family*>& families();

/// The family of a `model_type`; throws `unsupported` listing those there are.
const Family& family_of(std::string_view model_type, std::string_view source);

/// Claims the fields that every transformers configuration may have and that do not change what
/// inference computes.
void ignore_common_fields(Fields& config);

/// An activation's name, checked.
std::string read_activation(Fields& config, std::string_view name, std::string_view fallback);

/// The deviation that weights start with, checked.
double read_initializer_range(Fields& config);

/// `pad_token_id`, whose embedding starts as zeros; none where there is no such row. Claims it.
/// @param fallback where the config does not have the field
std::optional<int64_t> read_padding_id(Fields& config, int64_t vocab_size,
                                       std::optional<int64_t> fallback);

/// Number of layers: 1 to 4096.
int64_t read_layers(Fields& config, int64_t fallback);

}  // namespace ostinato::importer
