#include "ostinato/import/new_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>

#include "ostinato/base/dtype.h"
#include "ostinato/base/json.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/cli/progress.h"
#include "ostinato/import/config.h"

namespace ostinato::cli {

namespace {

struct Flags {
  std::string config, folder;
  bool tiny = false;
  bool json = false;
  importer::NewModelOptions options;
};

/// A built-in name is that, whatever lies in the folder: `./NAME` is a file.
importer::Preset preset_of(const Flags& flags) {
  const auto names = importer::preset_names();
  if (std::find(names.begin(), names.end(), flags.config) != names.end() ||
      !std::filesystem::exists(flags.config)) {
    return importer::preset(flags.config, flags.tiny);
  }
  if (flags.tiny) {
    fail(ErrorCode::invalid_argument, "cli/--tiny", "Change the sizes in the file instead.",
         "expected the name of a built-in configuration with --tiny, got the file {}",
         flags.config);
  }
  return {importer::read_json_object(flags.config), nullptr};
}

void run(const Flags& flags) {
  ProgressBar bar;
  importer::NewModelOptions options = flags.options;
  options.progress = bar.callback();
  const importer::NewModel made =
      importer::new_model(preset_of(flags), flags.config, flags.folder, options);
  if (flags.json) {
    const Json report = {{"folder", flags.folder},        {"architecture", made.architecture},
                         {"parameters", made.parameters}, {"dtype", name_of(made.dtype)},
                         {"weights", "random"},           {"seed", flags.options.seed}};
    output("{}\n", dump(report));
    return;
  }
  output("{}: {}, {:.1f} M parameters in {}, random weights of seed {}\n", flags.folder,
         made.architecture, static_cast<double>(made.parameters) / 1e6, name_of(made.dtype),
         flags.options.seed);
}

}  // namespace

void add_new_model(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "new-model", "A model folder with random weights, as transformers would initialise them");
  verb->add_option(
          "CONFIG", flags->config,
          fmt::format("A config.json, or one of {}", fmt::join(importer::preset_names(), ", ")))
      ->required();
  verb->add_option("DIR", flags->folder, "The folder to make")->required()->check(is_path());
  verb->add_flag("--tiny", flags->tiny, "The built-in configuration with small sizes");
  verb->add_option_function<std::string>(
      "--dtype", [flags](const std::string& name) { flags->options.dtype = dtype_of(name); },
      "float32, bfloat16 or float16; that of the configuration if not given");
  add_seed_flag(*verb, flags->options.seed, "Of the weights");
  verb->add_option("--tokenizer", flags->options.tokenizer,
                   "A folder whose tokenizer's files are copied")
      ->check(is_path());
  verb->add_flag("--json", flags->json, "Print JSON");
  verb->footer(
      "Examples:\n"
      "  ostinato new-model vit-base-patch16-224 vit\n"
      "  ostinato new-model qwen3-0.6b qwen --tokenizer qwen-tokenizer --dtype bfloat16\n"
      "  ostinato new-model bert-base tiny-bert --tiny --seed 7\n"
      "  ostinato new-model my/config.json my-model");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostinato::cli
