#include "ostinato/bench/report.h"

#include <fmt/format.h>
#include <sched.h>

#include <fstream>

#include "ostinato/base/atomic_file.h"
#include "ostinato/base/error.h"
#include "ostinato/device/device.h"

namespace ostinato::bench {

namespace fs = std::filesystem;

namespace {

std::vector<int> affinity() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}

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

Json machine_line(std::string_view device, int threads) {
  const device::Properties host = device::get("cpu").properties();
  const device::Properties chosen = device::get(device).properties();
  return {{"cpu", host.name},
          {"isa", host.isa},
          {"cores", host.cores},
          {"threads", threads},
          {"affinity", affinity()},
          {"governor", governor()},
          {"memory_bytes", host.memory_bytes},
          {"device", chosen.name},
          {"versions", device::versions()}};
}

void write_report(const Json& report, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail(ErrorCode::io, "bench/report", "Give --output-dir a folder that can be written to.",
         "cannot make the folder {}: {}", folder.string(), error.message());
  }
  write_file(folder / "report.json", report.dump(1) + "\n");
  write_file(folder / "report.md", to_markdown(report));
}

}  // namespace ostinato::bench
