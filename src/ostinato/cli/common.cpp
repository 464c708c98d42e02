#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>

#include "ostinato/base/error.h"
#include "ostinato/base/threads.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/passes/pipeline.h"
#include "ostinato/text/utf8.h"

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

/// Throws for a prompt that says nothing, or that another encoding than UTF-8 has garbled.
std::string check_prompt(const std::string& prompt) {
  if (prompt.empty()) {
    fail(ErrorCode::invalid_argument, "cli/--prompt", "Give a text of at least one token.",
         "expected a prompt, got an empty one");
  }
  if (const auto at = text::find_invalid_utf8(prompt)) {
    fail(ErrorCode::invalid_argument, "cli/--prompt", "Write the prompt in UTF-8.",
         "expected UTF-8, got the byte 0x{:02x} at offset {}", static_cast<uint8_t>(prompt[*at]),
         *at);
  }
  return {};
}

void add_execution_flags(CLI::App& verb, CommonFlags& flags,
                         const std::function<bool(std::string_view)>& wanted) {
  if (wanted("--device")) {
    verb.add_option("--device", flags.device,
                    "Where to run: cpu, cuda[:N], or null to compute nothing")
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
  if (wanted("--cache-dir")) {
    verb.add_option("--cache-dir", flags.cache_dir,
                    "Keep packed weights there for later starts; OSTINATO_CACHE_DIR if not given, "
                    "else ~/.cache/ostinato")
        ->check(is_path());
    verb.add_flag("--no-cache", flags.no_cache, "Neither use nor keep packed weights");
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
    add_seed_flag(verb, flags.seed, "Of random weights and inputs");
  }
  if (wanted("--inputs")) {
    verb.add_option("--inputs", flags.inputs, "A safetensors file with the inputs by name")
        ->check(is_path());
  }
  if (wanted("--image")) {
    verb.add_option("--image", flags.images, "A JPEG or PNG picture (repeatable)")
        ->allow_extra_args(false)
        ->check(is_path());
  }
  if (wanted("--prompt")) {
    verb.add_option("--prompt", flags.prompts, "A text (repeatable)")
        ->allow_extra_args(false)
        ->check(CLI::Validator(check_prompt, ""));
  }
}

}  // namespace

void add_common_flags(CLI::App& verb, CommonFlags& flags, const std::vector<std::string>& names) {
  const auto wanted = [&names](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  verb.add_option("MODEL", flags.model, "A model's folder, or a graph text file")
      ->required()
      ->check(is_path());
  add_execution_flags(verb, flags, wanted);
  add_input_flags(verb, flags, wanted);
  if (wanted("--json")) verb.add_flag("--json", flags.json, "Print JSON instead of a table");
  verb.parse_complete_callback([&flags] {
    if (flags.threads == 0) flags.threads = default_threads();
  });
}

void add_seed_flag(CLI::App& verb, uint64_t& seed, const std::string& help) {
  verb.add_option_function<std::string>(
          "--seed",
          [&seed](const std::string& text) {
            const char* end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, seed);
            if (error == std::errc() && stop == end) return;
            fail(ErrorCode::invalid_argument, "cli/--seed", "Use any such number.",
                 "expected a whole number from 0 to {}, got '{}'",
                 std::numeric_limits<uint64_t>::max(), text);
          },
          help)
      ->type_name("UINT")
      ->default_str("0");
}

CLI::Validator is_path() {
  return CLI::Validator(
      [](const std::string& path) {
        return path.empty() ? std::string("expected a path, got an empty one") : std::string();
      },
      "PATH");
}

std::vector<int64_t> parse_ids(std::string_view flag, std::string_view list) {
  std::vector<int64_t> ids;
  for (size_t at = 0; at <= list.size();) {
    const size_t end = std::min(list.find(',', at), list.size());
    int64_t id = 0;
    const char* last = list.data() + end;
    const auto [stop, error] = std::from_chars(list.data() + at, last, id);
    if (error != std::errc() || stop != last) {
      fail(ErrorCode::invalid_argument, fmt::format("cli/{}", flag),
           fmt::format("Write them as {} 1,2,3.", flag),
           "expected token ids with commas between, got '{}'", list);
    }
    ids.push_back(id);
    at = end + 1;
  }
  return ids;
}

importer::ModelOptions model_options(const CommonFlags& flags, const Progress& progress,
                                     const runtime::CacheFolder& cache) {
  return {flags.dtype,
          flags.weights == "random" ? importer::WeightSource::random
                                    : importer::WeightSource::pretrained,
          flags.seed, progress, cache.known};
}

runtime::CacheFolder open_cache(const CommonFlags& flags) {
  if (flags.no_cache) return {};
  const std::filesystem::path given = flags.cache_dir;
  return runtime::open_cache_folder(
      given.empty() ? device::PackedCache::default_root() : given,
      [](const std::string& text) { print_error("ostinato: warning: {}\n", text); });
}

runtime::Source open_source(const CommonFlags& flags, const Progress& progress,
                            const runtime::CacheFolder& cache) {
  auto source = runtime::Source::open(flags.model, model_options(flags, progress, cache));
  if (source.model()) return source;
  constexpr std::string_view kStage = "cli/graph";
  if (flags.weights == "random") {
    fail(ErrorCode::invalid_argument, kStage, "Leave --weights out.",
         "expected pretrained weights for the graph text {}, which has its own, got random",
         flags.model);
  }
  if (flags.dtype && *flags.dtype != source.dtype()) {
    fail(ErrorCode::invalid_argument, kStage,
         "Leave --dtype out, or write the graph in that dtype.",
         "expected the dtype {} of the graph text {}, got {}", name_of(source.dtype()), flags.model,
         name_of(*flags.dtype));
  }
  return source;
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
