#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ostinato/device/device.h"
#include "ostinato/passes/pipeline.h"
#include "ostinato/plan/plan.h"
#include "ostinato/session.h"

namespace ostinato::runtime {

using ostinato::Mode;
using ostinato::mode_of;
using ostinato::name_of;

struct ProgramOptions {
  Mode mode = Mode::graph;
  int threads = 1;
  std::vector<std::string> passes_off;         ///< of the graph mode's pipeline, by name
  Progress progress = {};                      ///< of each plan; must outlive the program
  bool in_place = true;                        ///< of the graph mode's plans, as plan::Options say
  bool cat_in_place = true;                    ///< the same
  bool branches = true;                        ///< the same
  std::vector<plan::Donation> donations = {};  ///< of all but the reference mode's plans
  std::map<int, int> thread_limits = {};       ///< the same
  /// Runs the passes again for each shape key, with its sizes as constants.
  bool specialise = false;
  using Rewrite = std::function<void(ir::Graph&)>;
  Rewrite before_passes = {}, after_passes = {};  ///< the caller's own, of the graph mode
  /// Where packed weights come from and go to; null: neither.
  std::shared_ptr<device::PackedCache> packed_cache = nullptr;
  /// What constants that lie on the device are read in the order of, where passes need their
  /// elements; only needed where there are such.
  std::shared_ptr<device::Stream> stream = nullptr;
};

/// A graph made ready for one device and mode; immutable, and so shared by threads, each with a
/// Context of its own.
class Program {
 public:
  Program(ir::Graph graph, device::Device& device, ProgramOptions options);

  /// After the mode's rewrites, with symbolic sizes.
  const ir::Graph& graph() const { return graph_; }
  device::Device& device() const { return device_; }
  const ProgramOptions& options() const { return options_; }
  const std::vector<std::string>& symbols() const { return symbols_; }
  const device::PackedWeights& packed() const { return packed_; }
  double passes_ms() const { return passes_ms_; }  ///< that the mode's rewrites took
  const std::vector<passes::PassReport>& passes() const { return passes_; }  ///< of the graph mode

  /// Where kernels find a constant: its own memory, where it lies on the device, or on a device
  /// that has memory of its own a copy, made at the first call and shared by all contexts.
  /// Thread-safe.
  const void* on_device(const ir::Value& constant, device::Stream& stream) const;

  /// Kernels and memory for one shape key on that many threads. Thread-safe.
  plan::Plan plan(const ir::Bindings& bindings, int threads) const;

 private:
  /// @param last no passes run after these
  passes::PipelineOptions pipeline_options(bool last) const;
  ir::Graph specialised(const ir::Bindings& bindings) const;
  Tensor read(const ir::Value& constant) const;

  ir::Graph graph_;
  device::Device& device_;
  ProgramOptions options_;
  std::vector<std::string> symbols_;
  mutable device::PackedWeights packed_;
  // Optimised for their sizes; kept, since weights are packed by the address of their constants.
  mutable std::mutex mutex_;
  mutable std::map<std::vector<int64_t>, ir::Graph> specialised_;
  // Of constants, by their addresses and sizes in host memory.
  mutable std::map<std::pair<const void*, size_t>, std::shared_ptr<void>> copies_;
  std::vector<passes::PassReport> passes_;
  double passes_ms_ = 0;
};

}  // namespace ostinato::runtime
