#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/base/json.h"
#include "ostinato/bench/metrics.h"

namespace ostinato::bench {

/// A lane as the bench sees it, wherever it runs. What it measured it reports as JSON with the keys
/// of docs/report.md.
class MeasuredLane {
 public:
  virtual ~MeasuredLane() = default;

  virtual std::string_view name() const = 0;
  /// Compiles for these inputs and runs once: what it really runs as, its first call's phases, its
  /// fallbacks and what is known of its memory.
  virtual Json first_call(const NamedTensors& inputs) = 0;
  /// What that call gave.
  virtual NamedTensors outputs() = 0;
  virtual void warm_up(int64_t iterations) = 0;
  /// `samples_ms` of calls with the same inputs: stops after `budget_ms`, but not before one call.
  virtual Json time(int64_t iterations, double budget_ms) = 0;
  /// Of its process since that began: `peak_rss_bytes`, `peak_anonymous_bytes`.
  virtual Json memory() = 0;
};

/// How often lanes are called.
struct Schedule {
  int64_t warmup = 3;
  int64_t iterations = 100;  ///< timed
  bool strict = false;       ///< a fallback fails the run
};

/// Throws `invalid_argument` unless there is a timed call.
void check(const Schedule& schedule);

/// Throws `internal` naming lane, key and both values where what a lane did is not what it was
/// asked for.
void require_as_asked(std::string_view lane, const Json& asked, const Json& done);

/// A batch of which the lanes are measured.
struct Batch {
  int64_t size = 1;
  Json described;       ///< name, shape, dtype and origin of each input
  NamedTensors inputs;  ///< empty where the lanes have them already
};

/// What every lane of a run has in common.
struct Conditions {
  std::string device;
  std::string weights;  ///< `pretrained`, `random` or `given`
  int threads = 1;
  std::vector<int> processors;
};

/// Measures lanes side by side, their timed calls taken in turns, judges what they gave, and makes
/// the report of it. Both the command and the Python package measure by this.
class SideBySide {
 public:
  struct Entry {
    MeasuredLane* lane;
    Json asked;  ///< what it must say that it ran as, by key
  };

  /// @param step is told what comes next
  SideBySide(std::vector<Entry> lanes, Schedule schedule,
             std::function<void(const std::string&)> step);

  /// How often a batch will call `step`.
  size_t steps_per_batch() const;

  /// Says what a reader must know of these conditions.
  void note_conditions(const Conditions& conditions);
  /// A sentence for the report, once, though every batch may come to say it.
  void note(std::string text);
  /// A note that fails the run.
  void fail_with(std::string text);

  void run_batch(const Batch& batch);

  /// The report. `header` has `requested`, `machine` and `model`, and anything else is kept.
  Json report(Json header);

 private:
  void take_actual(const Entry& entry, const Json& figures);
  void take_fallbacks(std::string_view lane, const Json& fallbacks);
  void time_in_turns(int64_t batch, Json& lanes);
  void compare_lanes(const std::vector<std::pair<std::string_view, NamedTensors>>& outputs,
                     Json& result);
  void explain(const Json& result);

  std::vector<Entry> lanes_;
  Schedule schedule_;
  std::function<void(const std::string&)> step_;
  Json batches_ = Json::array(), actual_ = Json::object();
  std::vector<std::string> notes_;
  std::optional<Verdict> verdict_;  ///< none while nothing was compared
};

}  // namespace ostinato::bench
