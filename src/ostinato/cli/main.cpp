#include <filesystem>

#include "ostinato/base/error.h"
#include "ostinato/base/interrupt.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"

namespace {

using ostinato::cli::print_error;

constexpr int kBadUsage = 2;
constexpr int kInterrupted = 130;

/// Of a flag or verb that does not exist: the one that was probably meant.
std::string suggestion(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(verb->get_name());
    if (!verb->parsed()) continue;
    for (const CLI::Option* option : verb->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  const std::vector<std::string_view> views(names.begin(), names.end());
  const std::string_view guess = ostinato::nearest(word, views);
  return guess.empty() ? "See ostinato --help." : fmt::format("Did you mean '{}'?", guess);
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const auto verbs = app.get_subcommands();
  const auto extras = app.remaining(true);
  if (!extras.empty() &&
      (verbs.empty() || dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr)) {
    print_error("ostinato: [cli] there is no {} '{}'{}. {}\n",
                verbs.empty() && extras.front()[0] != '-' ? "verb" : "argument", extras.front(),
                verbs.empty() ? "" : " of " + verbs.front()->get_name(),
                suggestion(app, extras.front()));
  } else if (verbs.empty()) {
    print_error("ostinato: [cli] expected a verb, got none. See ostinato --help.\n");
  } else {
    print_error("ostinato: [cli] {}. See ostinato {} --help.\n", error.what(),
                verbs.front()->get_name());
  }
  return kBadUsage;
}

int parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);  // --help, --version
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();  // a gate failed: the verb has said so
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  ostinato::cli::guard_standard_files();
  ostinato::install_interrupt_handler();
  try {
    CLI::App app("Captures a HuggingFace model once as a graph and replays it.", "ostinato");
    app.set_version_flag("--version", "ostinato " OSTINATO_VERSION);
    app.require_subcommand(1);
    app.footer(
        "Exit codes: 0 fine, 1 a gate or check failed, 2 bad usage or input, 130 interrupted.");
    for (const auto add :
         {ostinato::cli::add_run, ostinato::cli::add_generate, ostinato::cli::add_bench,
          ostinato::cli::add_tokenize, ostinato::cli::add_inspect, ostinato::cli::add_doctor,
          ostinato::cli::add_devices, ostinato::cli::add_new_model}) {
      add(app);
    }
    const int code = parse(app, argc, argv);
    ostinato::cli::flush_output();
    return code;
  } catch (const ostinato::Error& error) {
    print_error("ostinato: {}\n", error.what());
    return error.code() == ostinato::ErrorCode::interrupted ? kInterrupted : kBadUsage;
  } catch (const std::filesystem::filesystem_error& error) {
    print_error("ostinato: [file] could not read {}: {}. Check the path and its permissions.\n",
                error.path1().string(), error.code().message());
    return kBadUsage;
  } catch (const std::bad_alloc&) {
    print_error("ostinato: [memory] out of memory. Use a smaller batch or model.\n");
    return kBadUsage;
  } catch (const std::exception& error) {
    print_error("ostinato: [internal] {}. Report this as a defect.\n", error.what());
    return kBadUsage;
  }
}
