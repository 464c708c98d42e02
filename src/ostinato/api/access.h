#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/cache.h"
#include "ostinato/graph.h"
#include "ostinato/ir/graph.h"
#include "ostinato/model.h"
#include "ostinato/runtime/cache_folder.h"
#include "ostinato/runtime/source.h"

namespace ostinato {

struct Graph::Impl {
  std::shared_ptr<const ir::Graph> graph;
  std::vector<TensorSpec> inputs, outputs, constants, states;
  std::vector<std::string> symbols;
};

struct WeightCache::Impl {
  runtime::CacheFolder folder;
};

/// From the public classes to what they are handles to, and back.
struct Access {
  static Graph wrap(std::shared_ptr<const ir::Graph> graph);
  static Graph wrap(ir::Graph graph) {
    return wrap(std::make_shared<const ir::Graph>(std::move(graph)));
  }
  static const ir::Graph& of(const Graph& graph) { return *graph.impl().graph; }
  static std::shared_ptr<const ir::Graph> share(const Graph& graph) { return graph.impl().graph; }
  static const runtime::Source& of(const Model& model) { return model.source(); }
  static runtime::CacheFolder of(const WeightCache& cache);
};

/// Throws `invalid_argument`: every public class comes here when it is used after a move.
[[noreturn]] void fail_moved_from(std::string_view what);

ir::Dim to_dim(const Size& size);
ir::Shape to_shape(const std::vector<Size>& sizes);
std::vector<Size> to_sizes(const ir::Shape& shape);

/// A turn of one thread on an object that belongs to one at a time. Throws `invalid_argument` when
/// another has it.
class Turn {
 public:
  Turn(std::atomic_flag& taken, std::string_view what);
  ~Turn() { taken_.clear(std::memory_order_release); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic_flag& taken_;
};

}  // namespace ostinato
