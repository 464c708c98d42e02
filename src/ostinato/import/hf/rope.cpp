#include "ostinato/import/hf/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace ostinato::importer {

namespace {

using ir::Value;

/// theta^(2i/size), rounded to float32 where transformers rounds.
std::vector<float> powers(double theta, int64_t size) {
  std::vector<float> result;
  for (int64_t i = 0; i < size; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(size);
    result.push_back(static_cast<float>(std::pow(theta, static_cast<double>(exponent))));
  }
  return result;
}

double positive(Fields& fields, std::string_view name, std::optional<double> fallback) {
  const double value = fields.real(name, fallback);
  if (value <= 0) fields.reject(name, "Correct it.", "expected a number above 0, got {}", value);
  return value;
}

double positive_or(Fields& fields, std::string_view name, double fallback) {
  return fields.has(name) ? positive(fields, name, std::nullopt)
                          : fields.optional_real(name).value_or(fallback);
}

int64_t original_context(Fields& fields, int64_t context) {
  return fields.optional_size("original_max_position_embeddings").value_or(context);
}

void scale_linear(Fields& fields, Rope& rope) {
  const auto factor = static_cast<float>(positive(fields, "factor", std::nullopt));
  for (float& frequency : rope.inverse_frequencies) frequency /= factor;
}

void scale_llama3(Fields& fields, int64_t context, Rope& rope) {
  const auto factor = static_cast<float>(positive(fields, "factor", std::nullopt));
  const double low = positive(fields, "low_freq_factor", std::nullopt);
  const double high = positive(fields, "high_freq_factor", std::nullopt);
  const auto original = static_cast<double>(original_context(fields, context));
  if (high <= low) {
    fields.reject("high_freq_factor", "Correct one of the two.",
                  "expected more than low_freq_factor {}, got {}", low, high);
  }
  const auto longest = static_cast<float>(original / low);
  const auto shortest = static_cast<float>(original / high);
  for (float& frequency : rope.inverse_frequencies) {
    const float wavelength = 2 * std::numbers::pi_v<float> / frequency;
    if (wavelength > longest) {
      frequency /= factor;
    } else if (wavelength >= shortest) {
      const float smooth = (static_cast<float>(original) / wavelength - static_cast<float>(low)) /
                           static_cast<float>(high - low);
      frequency = (1 - smooth) * frequency / factor + smooth * frequency;
    }
  }
}

double yarn_scaling(Fields& fields, double factor) {
  const auto scaling = [](double scale, double by) {
    return scale <= 1 ? 1.0 : 0.1 * by * std::log(scale) + 1.0;
  };
  const std::optional<double> given = fields.optional_real("attention_factor");
  const double mscale = fields.optional_real("mscale").value_or(0.0);
  const double mscale_all_dim = fields.optional_real("mscale_all_dim").value_or(0.0);
  if (given) return *given;
  if (mscale == 0 || mscale_all_dim == 0) return scaling(factor, 1.0);
  return scaling(factor, mscale) / scaling(factor, mscale_all_dim);
}

// Peng et al., "YaRN: Efficient Context Window Extension of Large Language Models".
void scale_yarn(Fields& fields, double theta, int64_t size, int64_t context, Rope& rope) {
  const auto original = static_cast<double>(original_context(fields, context));
  const double factor = positive_or(fields, "factor", static_cast<double>(context) / original);
  rope.attention_scaling = yarn_scaling(fields, factor);
  const double beta_fast = positive_or(fields, "beta_fast", 32.0);
  const double beta_slow = positive_or(fields, "beta_slow", 1.0);
  const bool truncate = fields.flag("truncate", true);
  if (theta == 1) fields.reject("rope_theta", "Correct it.", "yarn needs another base than 1");
  const auto correction = [&](double rotations) {
    return static_cast<double>(size) * std::log(original / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(theta));
  };
  double low = correction(beta_fast), high = correction(beta_slow);
  if (truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(size - 1));
  if (low == high) high += 0.001;
  const std::vector<float> power = powers(theta, size);
  for (size_t i = 0; i < power.size(); ++i) {
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float extrapolated = 1 - ramp;
    rope.inverse_frequencies[i] =
        1.0f / (static_cast<float>(factor) * power[i]) * (1 - extrapolated) +
        1.0f / power[i] * extrapolated;
  }
}

Rope read_parameters(Fields& fields, double legacy_theta, int64_t size, int64_t context) {
  const std::string old_type = fields.text("type", "default");
  const std::string type = fields.text("rope_type", old_type);
  const double theta = positive(fields, "rope_theta", legacy_theta);
  fields.require("partial_rotary_factor", 1.0,
                 "Import a model that rotates a part of the head through torch.compile instead.");
  Rope rope;
  for (const float power : powers(theta, size)) rope.inverse_frequencies.push_back(1.0f / power);
  if (type == "linear") {
    scale_linear(fields, rope);
  } else if (type == "llama3") {
    scale_llama3(fields, context, rope);
  } else if (type == "yarn") {
    scale_yarn(fields, theta, size, context, rope);
  } else if (type != "default") {
    fields.refuse("rope_type",
                  "Use default, linear, llama3 or yarn, or import the model through torch.compile.",
                  "the engine does not compute the type {}", quote(type));
  }
  fields.refuse_unclaimed();
  return rope;
}

}  // namespace

Rope read_rope(Fields& config, int64_t size, int64_t context) {
  constexpr double kDefaultTheta = 10000.0;
  const double legacy_theta = positive(config, "rope_theta", kDefaultTheta);
  config.require("partial_rotary_factor", 1.0,
                 "Import a model that rotates a part of the head through torch.compile instead.");
  const bool modern = config.has("rope_parameters");
  const bool legacy = config.has("rope_scaling");
  config.ignore({"rope_parameters", "rope_scaling"});
  if (modern && legacy && config.raw("rope_parameters") != config.raw("rope_scaling")) {
    config.reject("rope_scaling", "Keep one of the two.",
                  "expected either it or rope_parameters, got both, which differ");
  }
  if (std::optional<Fields> fields = config.object(legacy ? "rope_scaling" : "rope_parameters")) {
    return read_parameters(*fields, legacy_theta, size, context);
  }
  static const Json kNothing = Json::object();
  Fields none(kNothing, "config.json", "rope_parameters");
  return read_parameters(none, legacy_theta, size, context);
}

CosSin rotary_embedding(const Module& module, const Rope& rope, Value* positions, DType dtype) {
  const auto half = static_cast<int64_t>(rope.inverse_frequencies.size());
  Tensor data = Tensor::empty(DType::float32, {half});
  std::copy(rope.inverse_frequencies.begin(), rope.inverse_frequencies.end(), data.as<float>());
  Value* frequencies = module.net().builder().constant(std::move(data));
  Value* batched = module("aten.unsqueeze", {positions}, {{"dim", 0}});
  Value* column = module("aten.unsqueeze", {batched}, {{"dim", -1}});
  Value* angles = module("aten.mul.Tensor", {cast(module, column, DType::float32), frequencies});
  Value* both = module("aten.cat", {angles, angles}, {{"dim", -1}});
  const auto scaled = [&](std::string_view function) {
    Value* value = module(function, {both});
    value = module("aten.mul.Scalar", {value}, {{"other", rope.attention_scaling}});
    return cast(module, value, dtype);
  };
  Value* cos = scaled("aten.cos");
  return {cos, scaled("aten.sin")};
}

Value* apply_rotary(const Module& module, Value* x, const CosSin& table) {
  const int64_t size = x->shape()[3].value();
  const auto part = [&](int64_t start, int64_t end) {
    return module("aten.slice.Tensor", {x}, {{"dim", 3}, {"start", start}, {"end", end}});
  };
  Value* cos = module("aten.unsqueeze", {table.cos}, {{"dim", 1}});
  Value* sin = module("aten.unsqueeze", {table.sin}, {{"dim", 1}});
  Value* straight = module("aten.mul.Tensor", {x, cos});
  Value* first = part(0, size / 2);
  Value* second = module("aten.neg", {part(size / 2, size)});
  Value* turned = module("aten.cat", {second, first}, {{"dim", -1}});
  return module("aten.add.Tensor", {straight, module("aten.mul.Tensor", {turned, sin})});
}

}  // namespace ostinato::importer
