#include "ostinato/bench/report.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <fstream>

#include "ostinato/base/atomic_file.h"
#include "ostinato/base/error.h"
#include "ostinato/bench/processors.h"
#include "ostinato/device/device.h"

namespace ostinato::bench {

namespace fs = std::filesystem;

namespace {

Json governor() {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  std::string text;
  return file >> text ? Json(text) : Json(nullptr);
}

}  // namespace

Json to_json(const Latency& latency) {
  Json result = {{"n", latency.n},     {"mean", latency.mean}, {"std", latency.std},
                 {"mad", latency.mad}, {"min", latency.min},   {"max", latency.max},
                 {"p50", latency.p50}};
  if (latency.p90) result["p90"] = *latency.p90;
  if (latency.p95) result["p95"] = *latency.p95;
  if (latency.p99) result["p99"] = *latency.p99;
  return result;
}

Json to_json(const Closeness& c) {
  Json result = {{"verdict", name_of(c.verdict)},  {"cosine", c.cosine},
                 {"max_abs_diff", c.max_abs_diff}, {"mean_abs_diff", c.mean_abs_diff},
                 {"max_rel_diff", c.max_rel_diff}, {"mean_rel_diff", c.mean_rel_diff},
                 {"rel_floor", c.rel_floor},       {"below_floor_share", c.below_floor_share}};
  if (c.top1_match_rate) result["top1_match_rate"] = *c.top1_match_rate;
  return result;
}

Json to_json(const Accuracy& accuracy) {
  Json result = to_json(accuracy.overall);
  result["leaves"] = Json::array();
  for (const auto& [name, closeness] : accuracy.leaves) {
    Json leaf = to_json(closeness);
    leaf["name"] = name;
    result["leaves"].push_back(std::move(leaf));
  }
  return result;
}

Json to_json(const Gain& gain) {
  return {{"passes", gain.passes},
          {"passes_op_by_op", gain.passes_op_by_op},
          {"passes_replayed", gain.passes_replayed},
          {"replay", gain.replay},
          {"replay_unfused", gain.replay_unfused},
          {"replay_optimised", gain.replay_optimised}};
}

Json machine_line(std::string_view device, int threads, const std::vector<int>& affinity) {
  const device::Properties host = device::get("cpu").properties();
  const device::Properties chosen = device::get(device).properties();
  std::map<std::string, std::string> versions = device::versions();
  versions["ostinato"] = OSTINATO_VERSION;
  utsname system{};
  if (uname(&system) == 0) versions["linux"] = system.release;
  return {{"cpu", host.name},
          {"isa", host.isa},
          {"cores", allowed_processors().size()},
          {"threads", threads},
          {"affinity", affinity},
          {"governor", governor()},
          {"memory_bytes", host.memory_bytes},
          {"device", chosen.name},
          {"versions", std::move(versions)}};
}

std::string to_text(const Json& report) {
  return report.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void prepare_report_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail(ErrorCode::io, "bench/report", "Give --output-dir a folder that can be written to.",
         "cannot make the folder {}: {}", folder.string(), error.message());
  }
  for (const char* name : {"report.json", "report.md"}) AtomicFile(folder / name);
}

void write_report(const Json& report, const fs::path& folder) {
  AtomicFile json(folder / "report.json"), markdown(folder / "report.md");
  json.write(to_text(report));
  markdown.write(to_markdown(report));
  json.commit();
  markdown.commit();
}

}  // namespace ostinato::bench
