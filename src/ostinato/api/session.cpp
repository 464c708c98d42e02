#include "ostinato/session.h"

#include "ostinato/api/access.h"
#include "ostinato/base/error.h"
#include "ostinato/base/threads.h"
#include "ostinato/ir/text.h"
#include "ostinato/passes/rules.h"
#include "ostinato/runtime/context.h"
#include "ostinato/runtime/generate.h"

namespace ostinato {

namespace {

/// Throws `invalid_argument` unless both have the same values of a kind.
void require_same(const std::vector<TensorSpec>& wanted, const std::vector<TensorSpec>& given,
                  std::string_view pass, std::string_view kind) {
  const auto text = [](const std::vector<TensorSpec>& specs) {
    std::vector<std::string> parts;
    for (const TensorSpec& spec : specs) parts.push_back(spec.str());
    return fmt::format("{}", fmt::join(parts, ", "));
  };
  if (text(wanted) == text(given)) return;
  fail(ErrorCode::invalid_argument, "api/program", "Keep what calls give and get.",
       "the {} changed the {} of the graph from ({}) to ({})", pass, kind, text(wanted),
       text(given));
}

/// A pass of the caller's, on the engine's graph.
void run_pass(ir::Graph& graph, const GraphPass& pass, std::string_view name) {
  if (!pass) return;
  const Graph before = Access::wrap(graph.specialise({}));
  const Graph after = pass(before);
  require_same(before.inputs(), after.inputs(), name, "inputs");
  require_same(before.outputs(), after.outputs(), name, "outputs");
  require_same(before.states(), after.states(), name, "states");
  graph = Access::of(after).specialise({});
}

passes::Rule to_rule(const Rule& rule) {
  passes::Rule result{.name = rule.name,
                      .search = Access::share(rule.search),
                      .replacement = Access::share(rule.replacement),
                      .scalars = rule.scalars};
  if (rule.check) {
    result.check = [check = rule.check](const passes::RuleMatch& found) {
      RuleMatch match;
      for (const auto& [name, value] : found.inputs) {
        match.inputs.emplace(name, TensorSpec{name, value->dtype(), to_sizes(value->shape())});
      }
      match.scalars.insert(found.scalars.begin(), found.scalars.end());
      return check(match);
    };
  }
  return result;
}

runtime::ProgramOptions program_options(const CompileOptions& options) {
  constexpr int kMaxThreads = 1024;
  if (options.threads < 0 || options.threads > kMaxThreads) {
    fail(ErrorCode::invalid_argument, "api/program",
         fmt::format("Use 1 to {}, or 0 for as many as the process has processors.", kMaxThreads),
         "expected a number of threads, got {}", options.threads);
  }
  runtime::ProgramOptions result{
      options.mode, options.threads == 0 ? default_threads() : options.threads, options.passes_off};
  result.packed_cache = Access::of(options.cache).packed;
  std::vector<passes::Rule> rules;
  for (const Rule& rule : options.rules) rules.push_back(to_rule(rule));
  for (const passes::Rule& rule : rules) passes::check_rule(rule);  // in every mode
  result.before_passes = [rules = std::move(rules), pass = options.pre_pass](ir::Graph& graph) {
    run_pass(graph, pass, "pre_pass");
    passes::apply_rules(graph, rules);
  };
  result.after_passes = [pass = options.post_pass](ir::Graph& graph) {
    run_pass(graph, pass, "post_pass");
  };
  return result;
}

runtime::ContextOptions context_options(const SessionOptions& options) {
  return {.capture_limit = options.capture_limit};
}

void require_constants(const ir::Graph& graph) {
  for (const auto& [name, constant] : external_constants(graph)) {
    if (constant->data.defined()) continue;
    fail(ErrorCode::not_found, "api/program",
         "Give Graph::parse the constants, or use Graph::open with the safetensors file beside the "
         "text.",
         "expected elements for the constant '{}' of {}, got none", name,
         to_string(constant->type));
  }
}

std::string names_of(const std::vector<ir::Value*>& inputs) {
  std::string names;
  for (const ir::Value* input : inputs) names += (names.empty() ? "" : ", ") + input->name;
  return names.empty() ? "The program has no inputs." : fmt::format("The inputs are: {}.", names);
}

/// In the order of the program.
std::vector<Tensor> in_order(const ir::Graph& graph, const NamedTensors& inputs) {
  constexpr std::string_view kStage = "api/session";
  std::vector<Tensor> tensors;
  for (const ir::Value* input : graph.inputs()) {
    const auto found = inputs.find(input->name);
    if (found == inputs.end()) {
      fail(ErrorCode::invalid_argument, kStage, names_of(graph.inputs()),
           "expected {} for the input '{}', got none", to_string(input->type), input->name);
    }
    tensors.push_back(found->second);
  }
  if (tensors.size() == inputs.size()) return tensors;
  for (const auto& entry : inputs) {
    const auto& known = graph.inputs();
    if (std::any_of(known.begin(), known.end(),
                    [&](const ir::Value* input) { return input->name == entry.first; })) {
      continue;
    }
    fail(ErrorCode::invalid_argument, kStage, names_of(known), "there is no input '{}'",
         entry.first);
  }
  return tensors;
}

}  // namespace

struct Program::Impl {
  std::shared_ptr<const runtime::Program> program;
  Graph graph;
  CompileOptions options;
};

const Program::Impl& Program::impl() const {
  if (impl_ == nullptr) fail_moved_from("program");
  return *impl_;
}

Program Program::compile(const Graph& graph, const CompileOptions& options) {
  const ir::Graph& source = Access::of(graph);
  require_constants(source);
  const auto program = std::make_shared<const runtime::Program>(
      source.specialise({}), device::get(options.device), program_options(options));
  const std::shared_ptr<const ir::Graph> rewritten(program, &program->graph());
  CompileOptions chosen = options;
  chosen.threads = program->options().threads;
  return Program(
      std::make_shared<const Impl>(Impl{program, Access::wrap(rewritten), std::move(chosen)}));
}

const Graph& Program::graph() const { return impl().graph; }
const CompileOptions& Program::options() const { return impl().options; }
const std::vector<TensorSpec>& Program::inputs() const { return graph().inputs(); }
const std::vector<TensorSpec>& Program::outputs() const { return graph().outputs(); }

struct Session::Impl {
  Impl(Program given, const SessionOptions& options)
      : program(std::move(given)), context(program.impl().program, context_options(options)) {}

  Turn turn() { return {taken, "session"}; }

  Program program;
  runtime::Context context;
  std::atomic_flag taken = ATOMIC_FLAG_INIT;
};

Session::Session(Program program, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(std::move(program), options)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Session::Impl& Session::impl() const {
  if (impl_ == nullptr) fail_moved_from("session");
  return *impl_;
}

std::vector<Tensor> Session::run(const std::vector<Tensor>& inputs) {
  const Turn turn = impl().turn();
  return impl_->context.run(inputs);
}

NamedTensors Session::run_named(const NamedTensors& inputs) {
  const Turn turn = impl().turn();
  const ir::Graph& graph = impl_->context.program().graph();
  std::vector<Tensor> outputs = impl_->context.run(in_order(graph, inputs));
  NamedTensors named;
  for (size_t i = 0; i < outputs.size(); ++i) {
    named.emplace(graph.outputs()[i].name, std::move(outputs[i]));
  }
  return named;
}

void Session::run_into(const std::vector<Tensor>& inputs, std::vector<Tensor>& outputs) {
  const Turn turn = impl().turn();
  impl_->context.run_into(inputs, outputs);
}

void Session::reset_states() {
  const Turn turn = impl().turn();
  impl_->context.reset_states();
}

const Program& Session::program() const { return impl().program; }

Counters Session::counters() const {
  const Turn turn = impl().turn();
  return impl_->context.counters();
}

struct Generator::Impl {
  runtime::Generator generator;
  std::atomic_flag taken = ATOMIC_FLAG_INIT;

  Turn turn() { return {taken, "generator"}; }
};

Generator::Generator(const Model& model, const CompileOptions& options,
                     const SessionOptions& session_options) {
  const runtime::Source& source = Access::of(model);
  if (!source.model()) {
    fail(ErrorCode::unsupported, "api/generator", "Give the folder of a causal language model.",
         "{} is graph text, which does not generate", source.path().string());
  }
  impl_.reset(new Impl{{*source.model(), device::get(options.device), program_options(options),
                        context_options(session_options)}});
}
Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;
Generator& Generator::operator=(Generator&&) noexcept = default;

Generator::Impl& Generator::impl() const {
  if (impl_ == nullptr) fail_moved_from("generator");
  return *impl_;
}

Generation Generator::generate(std::span<const int64_t> prompt, const GenerateOptions& options,
                               const OnToken& on_token) {
  const Turn turn = impl().turn();
  return impl_->generator(prompt, options, on_token);
}

Counters Generator::counters() const {
  const Turn turn = impl().turn();
  return impl_->generator.counters();
}

}  // namespace ostinato
