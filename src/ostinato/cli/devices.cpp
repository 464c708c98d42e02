#include "ostinato/base/json.h"
#include "ostinato/base/threads.h"
#include "ostinato/cli/cli.h"
#include "ostinato/cli/output.h"
#include "ostinato/device/device.h"

namespace ostinato::cli {

namespace {

void run(bool json) {
  Json table = Json::array();
  for (const device::Device* device : device::all()) {
    const device::Properties properties = device->properties();
    Json row = {{"name", device->name()},
                {"model", properties.name},
                {"isa", properties.isa},
                {"cores", properties.cores},
                {"chosen", device->name() == "cpu"}};
    if (properties.memory_bytes > 0) {
      row["memory_bytes"] = properties.memory_bytes;
      row["memory_in_use_bytes"] = properties.memory_in_use_bytes;
    }
    table.push_back(std::move(row));
  }
  if (json) {
    output("{}\n", dump(table, 1));
    return;
  }
  for (const Json& row : table) {
    output("{:<5} {}", row["name"].get<std::string>(), row["model"].get<std::string>());
    if (row.contains("memory_bytes")) {
      output(", {}, {} cores, {:.1f} of {:.1f} GiB in use", row["isa"].get<std::string>(),
             row["cores"].get<int>(), row["memory_in_use_bytes"].get<double>() / (1 << 30),
             row["memory_bytes"].get<double>() / (1 << 30));
    }
    output("{}\n", row["chosen"].get<bool>() ? "  ← chosen" : "");
  }
}

}  // namespace

void add_devices(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("devices", "What a model can run on, and what is chosen");
  verb->add_flag("--json", *json, "Print JSON instead of a table");
  verb->footer("Example:\n  ostinato devices --json");
  verb->callback([json] { run(*json); });
}

}  // namespace ostinato::cli
