#include <algorithm>
#include <charconv>

#include "ostinato/base/error.h"
#include "ostinato/base/threads.h"
#include "ostinato/cli/cli.h"
#include "ostinato/passes/pipeline.h"

namespace ostinato::cli {

namespace {

constexpr std::string_view kPassPrefix = "pass.";

int64_t integer_setting(std::string_view name, std::string_view text, int64_t least) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least) {
    fail(ErrorCode::invalid_argument, "cli/--set",
         fmt::format("Set {} to {} or more.", name, least), "expected an integer for {}, got '{}'",
         name, text);
  }
  return value;
}

bool switch_setting(std::string_view name, std::string_view text) {
  for (const std::string_view yes : {"on", "true", "True", "1"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"off", "false", "False", "0"}) {
    if (text == no) return false;
  }
  fail(ErrorCode::invalid_argument, "cli/--set", "Use on or off.",
       "expected a switch for {}, got '{}'", name, text);
}

void add_execution_flags(CLI::App& verb, CommonFlags& flags,
                         const std::function<bool(std::string_view)>& wanted) {
  if (wanted("--device")) {
    verb.add_option("--device", flags.device, "Where to run: cpu, or null to compute nothing")
        ->capture_default_str();
  }
  if (wanted("--dtype")) {
    verb.add_option_function<std::string>(
        "--dtype", [&flags](const std::string& name) { flags.dtype = dtype_of(name); },
        "float32, bfloat16 or float16; that of the weights if not given");
  }
  if (wanted("--mode")) {
    verb.add_option_function<std::string>(
        "--mode", [&flags](const std::string& name) { flags.mode = runtime::mode_of(name); },
        "reference, eager or graph (graph if not given)");
  }
  if (wanted("--threads")) {
    verb.add_option("--threads", flags.threads,
                    "Threads of a CPU lane; all processors if not given")
        ->check(CLI::Range(1, 1024));
  }
  if (wanted("--set")) {
    verb.add_option("--set", flags.settings, "An engine option, as NAME=VALUE (repeatable)")
        ->allow_extra_args(false);
  }
}

void add_input_flags(CLI::App& verb, CommonFlags& flags,
                     const std::function<bool(std::string_view)>& wanted) {
  if (wanted("--weights")) {
    verb.add_option("--weights", flags.weights, "pretrained, or random for a seeded stand-in")
        ->check(CLI::IsMember({"pretrained", "random"}))
        ->capture_default_str();
  }
  if (wanted("--seed")) {
    verb.add_option("--seed", flags.seed, "Of random weights and inputs")->capture_default_str();
  }
  if (wanted("--inputs")) {
    verb.add_option("--inputs", flags.inputs, "A safetensors file with the inputs by name");
  }
  if (wanted("--image")) {
    verb.add_option("--image", flags.images, "A JPEG or PNG picture (repeatable)")
        ->allow_extra_args(false);
  }
  if (wanted("--prompt")) {
    verb.add_option("--prompt", flags.prompts, "A text (repeatable)")->allow_extra_args(false);
  }
}

}  // namespace

void add_common_flags(CLI::App& verb, CommonFlags& flags, const std::vector<std::string>& names) {
  const auto wanted = [&names](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  verb.add_option("MODEL", flags.model, "A model's folder, or a graph text file")->required();
  add_execution_flags(verb, flags, wanted);
  add_input_flags(verb, flags, wanted);
  if (wanted("--json")) verb.add_flag("--json", flags.json, "Print JSON instead of a table");
  verb.parse_complete_callback([&flags] {
    if (flags.threads == 0) flags.threads = default_threads();
  });
}

importer::ModelOptions model_options(const CommonFlags& flags) {
  return {flags.dtype,
          flags.weights == "random" ? importer::WeightSource::random
                                    : importer::WeightSource::pretrained,
          flags.seed};
}

EngineOptions parse_settings(const std::vector<std::string>& settings) {
  EngineOptions options;
  std::vector<std::string> valid = {"capture_limit"};
  for (const passes::Pass& pass : passes::pipeline()) {
    valid.push_back(fmt::format("{}{}", kPassPrefix, pass.name));
  }
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    const std::string name = setting.substr(0, equals);
    if (equals == std::string::npos || std::find(valid.begin(), valid.end(), name) == valid.end()) {
      fail(ErrorCode::invalid_argument, "cli/--set",
           fmt::format("Give NAME=VALUE with a name of {}.", fmt::join(valid, ", ")),
           "there is no engine option '{}'", setting);
    }
    const std::string value = setting.substr(equals + 1);
    if (name == "capture_limit") {
      options.capture_limit = integer_setting(name, value, 1);
    } else if (!switch_setting(name, value)) {
      options.passes_off.push_back(name.substr(kPassPrefix.size()));
    }
  }
  return options;
}

}  // namespace ostinato::cli
