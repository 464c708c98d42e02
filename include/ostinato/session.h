#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/cache.h"
#include "ostinato/graph.h"
#include "ostinato/model.h"
#include "ostinato/rule.h"

/// Running graphs. A Program is immutable and shared by threads; a Session, and a Generator, is its
/// mutable side and belongs to one thread at a time:
///
///     const Program program = Program::compile(Model::open("vit").forward());
///     // in each thread
///     Session session(program);
///     std::vector<Tensor> outputs = session.run({pixels});
///
/// A call on a session that another thread is in throws `invalid_argument`. Sessions of one program
/// share its graph, its weights and what kernels made of them; memory between calls, states and
/// captures are each session's own.
namespace ostinato {

/// The three executors of one graph.
/// `reference`: plain fp32 loops, one operator at a time, fused ones expanded; slow and right.
/// `eager`: the device's fast kernels, one operator at a time, outputs allocated on the way.
/// `graph`: passes, a memory plan, one capture per shape key, replay.
enum class Mode { reference, eager, graph };

OSTINATO_API std::string_view name_of(Mode mode);
/// The mode of that name; throws `invalid_argument` listing the valid ones.
OSTINATO_API Mode mode_of(std::string_view name);

struct CompileOptions {
  std::string device = "cpu";  ///< `cpu`, or `null`, which computes nothing
  Mode mode = Mode::graph;
  int threads = 0;  ///< 1 to 1024; 0: OSTINATO_THREADS, else the processors of this process
  std::vector<std::string> passes_off = {};  ///< of the graph mode, by name (docs/options.md)
  /// Of the graph mode, before its own passes: each is applied wherever it fits, once.
  std::vector<Rule> rules = {};
  GraphPass pre_pass = {};   ///< of the graph mode, before rules and passes; may be empty
  GraphPass post_pass = {};  ///< of the graph mode, after them; may be empty
  WeightCache cache = {};    ///< of packed weights; none by itself
};

/// A graph made ready for a device and a mode. A handle to something immutable: copies are cheap,
/// and any threads may use it at once.
///
/// Every member throws `invalid_argument` on a program that was moved from.
class OSTINATO_API Program {
 public:
  /// Throws `not_found` for an unknown device and for a constant without elements, and
  /// `invalid_argument` for an unknown pass, a bad number of threads, a rule that cannot be right,
  /// and a pass of the caller's that gives a graph with other inputs, outputs or states.
  static Program compile(const Graph& graph, const CompileOptions& options = {});

  /// References live as long as the program, that is, its last copy.
  const Graph& graph() const;                      ///< after the mode's rewrites
  const CompileOptions& options() const;           ///< with the number of threads it came to
  const std::vector<TensorSpec>& inputs() const;   ///< in the order of a call
  const std::vector<TensorSpec>& outputs() const;  ///< in the order of what a call returns

 private:
  friend class Session;
  struct Impl;
  explicit Program(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const;

  std::shared_ptr<const Impl> impl_;
};

struct SessionOptions {
  size_t capture_limit = 64;  ///< shape keys kept; past it the one used longest ago goes
};

struct Counters {
  size_t captures = 0;   ///< shape keys planned and bound, again after an eviction too
  size_t evictions = 0;  ///< shape keys dropped at the limit
};

/// Threads, memory, states and captures of a program. The first call with new sizes plans and
/// captures them, in milliseconds to seconds; later calls replay.
///
/// Every call throws `invalid_argument` while another is under way, and on a session that was moved
/// from. A call that throws leaves the states as far as it came.
class OSTINATO_API Session {
 public:
  /// Throws `invalid_argument` for a capture limit of zero.
  explicit Session(Program program, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  /// Runs on inputs in the program's order. The outputs, in its order too, are new memory that no
  /// later call touches. Throws `invalid_argument` naming the input for a wrong number, dtype or
  /// shape, and naming the operator for an index out of range; `unsupported` where the device has
  /// no kernel for a call.
  std::vector<Tensor> run(const std::vector<Tensor>& inputs);

  /// The same by name. Throws `invalid_argument` for a name that no input has and for one missing.
  NamedTensors run_named(const NamedTensors& inputs);

  /// The same into memory of the caller's: tensors of the outputs' dtypes and shapes, which may not
  /// overlap each other or the inputs. Allocates nothing for them. Throws `invalid_argument` naming
  /// the output.
  void run_into(const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs);

  /// Makes every state zero, as it is at the beginning.
  void reset_states();

  const Program& program() const;
  Counters counters() const;

 private:
  struct Impl;
  Impl& impl() const;

  std::unique_ptr<Impl> impl_;
};

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  /// The first of these ends the text and belongs to it, beside the model's own end tokens.
  std::vector<int64_t> stop_tokens = {};
  bool ignore_end = false;  ///< do not stop at the model's own
  /// Without it the whole sequence runs again for every token, with a capture for each length.
  bool kv_cache = true;
  /// The callback gets logits. Without them it gets an undefined tensor, and a device with memory
  /// of its own goes on to later tokens meanwhile.
  bool logits = true;
};

struct Generation {
  std::vector<int64_t> tokens;   ///< the new ones
  bool stopped = false;          ///< by an end or stop token, or by the caller
  double first_token_ms = 0;     ///< from the prompt to the first new token
  std::vector<double> token_ms;  ///< of each later token
};

/// Called with each new token and, unless the options do without, the logits (V) that it was taken
/// from, which are overwritten afterwards; false ends the generation. What it throws goes through
/// to the caller.
using OnToken = std::function<bool(int64_t token, const Tensor& logits)>;

/// Continues token sequences greedily with one model: programs, KV cache and captures are kept from
/// one sequence to the next, and a longer one makes the cache grow. Belongs to one thread at a
/// time, as a Session does.
class OSTINATO_API Generator {
 public:
  /// Throws `unsupported` for a model that does not generate, and as `Program::compile`.
  explicit Generator(const Model& model, const CompileOptions& options = {},
                     const SessionOptions& session_options = {});
  ~Generator();
  Generator(Generator&&) noexcept;
  Generator& operator=(Generator&&) noexcept;

  /// @param prompt ids of the model's vocabulary, at least one
  /// @param on_token may be empty
  /// Throws `invalid_argument` for an empty prompt, an id outside the vocabulary, fewer than one
  /// new token, and for more tokens in all than the model's context length.
  Generation generate(std::span<const int64_t> prompt, const GenerateOptions& options = {},
                      const OnToken& on_token = {});

  Counters counters() const;

 private:
  struct Impl;
  Impl& impl() const;

  std::unique_ptr<Impl> impl_;
};

}  // namespace ostinato
