#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "ostinato/base/json.h"
#include "ostinato/bench/latency.h"
#include "ostinato/bench/metrics.h"

namespace ostinato::bench {

/// A part of the report from what was measured.
Json to_json(const Latency& latency);
Json to_json(const Closeness& closeness);
Json to_json(const Accuracy& accuracy);
Json to_json(const Gain& gain);

/// CPU model, ISA, processors of this process (`cores`), threads, the processors that lanes are
/// kept to (`affinity`), governor if readable, versions.
Json machine_line(std::string_view device, int threads, const std::vector<int>& affinity);

/// The report as a person reads it: the machine, a table of lanes, accuracy, and notes on every
/// figure that is missing.
std::string to_markdown(const Json& report);

/// As `report.json` has it; text that is not UTF-8 gets replacement characters.
std::string to_text(const Json& report);

/// Makes the folder if it is not there, and throws `io` unless a report can be written into it.
void prepare_report_folder(const std::filesystem::path& folder);

/// Writes `report.json` and `report.md`: both are written whole before either gets its name.
void write_report(const Json& report, const std::filesystem::path& folder);

}  // namespace ostinato::bench
