#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/import/random_weights.h"
#include "ostinato/ir/builder.h"

/// The modules of torch.nn and transformers that model classes are made of, each as the plain chain
/// of operators that its `forward` runs.
namespace ostinato::importer {

/// A weight that a model class has.
struct Parameter {
  std::string name;  ///< as in the checkpoints of the hub: `encoder.layer.0.output.dense.weight`
  std::vector<int64_t> shape;
  Init init;
};

/// A graph under construction, and the weights it asked for so far.
class Net {
 public:
  /// @param dtype of the weights, and of what is computed with them
  Net(ir::Graph& graph, DType dtype);

  ir::Graph& graph() { return graph_; }
  ir::Builder& builder() { return builder_; }
  DType dtype() const { return dtype_; }

  /// The weight of that name, the same value each time it is asked for.
  ir::Value* parameter(std::string name, std::vector<int64_t> shape, Init init);

  const std::vector<Parameter>& parameters() const { return parameters_; }

 private:
  ir::Graph& graph_;
  ir::Builder builder_;
  DType dtype_;
  std::vector<Parameter> parameters_;
  std::map<std::string, ir::Value*, std::less<>> values_;
};

/// A module's place in the tree, such as `encoder.layer.0`: the prefix of its weights' names, and
/// the source of the calls made through it.
class Module {
 public:
  explicit Module(Net& net, std::string path = "") : net_(&net), path_(std::move(path)) {}

  /// The child of that name; the empty name is the module itself.
  Module operator[](std::string_view child) const;
  Module operator[](int64_t index) const;

  Net& net() const { return *net_; }
  const std::string& path() const { return path_; }

  ir::Value* parameter(std::string_view name, std::vector<int64_t> shape, Init init) const;

  /// A call of an operator, and its first result.
  ir::Value* operator()(std::string_view op, std::vector<ir::Value*> operands,
                        const std::vector<ir::NamedAttribute>& attributes = {}) const;

 private:
  Net* net_;
  std::string path_;
};

/// torch.nn.Linear with a weight (out, in); weights start as normal with that deviation.
struct LinearSpec {
  int64_t in, out;
  bool bias;
  double deviation;
};
ir::Value* linear(const Module& module, ir::Value* x, const LinearSpec& spec);

/// torch.nn.LayerNorm over the last dim.
ir::Value* layer_norm(const Module& module, ir::Value* x, int64_t size, double eps);

/// LlamaRMSNorm and its kin: normalised in float32, rounded to x's dtype, then times the weight.
ir::Value* rms_norm(const Module& module, ir::Value* x, int64_t size, double eps);

/// torch.nn.Embedding of `count` vectors.
/// @param padding_row starts as zeros
struct EmbeddingSpec {
  int64_t count, size;
  double deviation;
  std::optional<int64_t> padding_row = {};
};
ir::Value* embedding(const Module& module, ir::Value* ids, const EmbeddingSpec& spec);
/// Its weight (count, size), for what is tied to it.
ir::Value* embedding_weight(const Module& module, const EmbeddingSpec& spec);

/// Whether `activation` knows the name, which is a key of transformers' ACT2FN.
bool has_activation(std::string_view name);
/// The names it knows.
std::vector<std::string_view> activation_names();
ir::Value* activation(const Module& module, std::string_view name, ir::Value* x);

/// (B, S, heads·size) to (B, heads, S, size), and back.
ir::Value* split_heads(const Module& module, ir::Value* x, int64_t heads, int64_t size);
ir::Value* merge_heads(const Module& module, ir::Value* x);

/// torch's scaled_dot_product_attention with the scale size^-0.5.
/// @param mask bool, true to attend; may be null
ir::Value* scaled_dot_product_attention(const Module& module, ir::Value* query, ir::Value* key,
                                        ir::Value* value, ir::Value* mask, bool causal);

/// 0, 1, … end-1 in int64.
ir::Value* arange(const Module& module, const ir::Dim& end);

/// x in that dtype; x itself when it has it already, as `Tensor.to` does.
ir::Value* cast(const Module& module, ir::Value* x, DType dtype);

}  // namespace ostinato::importer
