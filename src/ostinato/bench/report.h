#pragma once

#include <filesystem>
#include <string>

#include "ostinato/base/json.h"
#include "ostinato/bench/latency.h"
#include "ostinato/bench/metrics.h"

namespace ostinato::bench {

/// A part of the report from what was measured.
Json to_json(const Latency& latency);
Json to_json(const Closeness& closeness);
Json to_json(const Accuracy& accuracy);

/// CPU model, ISA, cores, threads, affinity, governor if readable, versions.
Json machine_line(std::string_view device, int threads);

/// The report as a person reads it: the machine, a table of lanes, accuracy, and notes on every
/// figure that is missing.
std::string to_markdown(const Json& report);

/// Writes `report.json` and `report.md` into the folder, which is made if it is not there.
void write_report(const Json& report, const std::filesystem::path& folder);

}  // namespace ostinato::bench
