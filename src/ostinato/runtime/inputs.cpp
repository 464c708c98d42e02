#include "ostinato/runtime/inputs.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "ostinato/base/error.h"
#include "ostinato/image/processor.h"
#include "ostinato/import/safetensors.h"
#include "ostinato/text/tokenizer.h"

namespace ostinato::runtime {

namespace {

using importer::InputKind;
using importer::InputSpec;

constexpr std::string_view kStage = "runtime/inputs";
constexpr int64_t kRandomTokens = 128;

/// The texts as rows of equal length.
struct TokenRows {
  std::vector<std::vector<int64_t>> ids, mask, types;
  int64_t length = 0;
};

class Resolver {
 public:
  Resolver(const Source& source, const ir::Graph& graph, const InputRequest& request)
      : source_(source), graph_(graph), request_(request) {
    if (source.model()) specs_ = source.model()->inputs();
    if (!request.file.empty()) file_ = importer::SafetensorsFile::open(request.file);
    const auto given = std::max(request.pictures.size(), request.texts.size());
    batch_ = request.batch_size > 0 ? request.batch_size
                                    : std::max<int64_t>(1, static_cast<int64_t>(given));
  }

  std::vector<NamedInput> run() {
    refuse_what_nobody_takes();
    if (!request_.texts.empty()) tokenize();
    std::vector<NamedInput> inputs;
    read_sizes();
    for (const ir::Value* input : graph_.inputs()) {
      inputs.push_back(
          naming(fmt::format("input '{}'", input->name), [&] { return resolve(*input); }));
    }
    return inputs;
  }

 private:
  bool takes(InputKind kind) const {
    return std::any_of(specs_.begin(), specs_.end(),
                       [kind](const InputSpec& spec) { return spec.kind == kind; });
  }

  void refuse_what_nobody_takes() const {
    if (!request_.pictures.empty() && !takes(InputKind::picture)) {
      fail(ErrorCode::invalid_argument, kStage, "Leave --image out.", "{} takes no picture",
           source_.path().string());
    }
    if (!request_.texts.empty() && !takes(InputKind::token_ids)) {
      fail(ErrorCode::invalid_argument, kStage, "Leave --prompt out.", "{} takes no text",
           source_.path().string());
    }
    if (!file_) return;
    for (const std::string& name : file_->names()) {
      const auto& inputs = graph_.inputs();
      if (std::any_of(inputs.begin(), inputs.end(),
                      [&](const ir::Value* input) { return input->name == name; })) {
        continue;
      }
      std::string names;
      for (const ir::Value* input : inputs) names += (names.empty() ? "" : ", ") + input->name;
      fail(ErrorCode::invalid_argument, kStage, fmt::format("The inputs are: {}.", names),
           "{} has a tensor '{}' that is no input", request_.file, name);
    }
  }

  /// The symbols' sizes in the tensors of the file: what is not in it has to fit to them.
  void read_sizes() {
    for (const ir::Value* input : graph_.inputs()) {
      if (!file_ || !file_->contains(input->name)) continue;
      const std::vector<int64_t> sizes = file_->info(input->name).shape;
      for (size_t i = 0; i < std::min(sizes.size(), input->rank()); ++i) {
        std::vector<std::string> names;
        input->shape()[i].collect_symbols(names);
        if (names.size() == 1 && input->shape()[i] == ir::Dim::symbol(names[0])) {
          sizes_.emplace(names[0], std::max<int64_t>(sizes[i], 1));
        }
      }
    }
  }

  NamedInput resolve(const ir::Value& input) {
    const auto spec = std::find_if(specs_.begin(), specs_.end(),
                                   [&](const InputSpec& s) { return s.name == input.name; });
    if (file_ && file_->contains(input.name)) {
      return from_file(input, spec == specs_.end() ? nullptr : &*spec);
    }
    if (spec == specs_.end()) return random(input);
    if (spec->kind == InputKind::picture && !request_.pictures.empty()) return picture(input);
    if (rows_.length > 0) {
      const auto& rows = spec->kind == InputKind::token_ids        ? rows_.ids
                         : spec->kind == InputKind::attention_mask ? rows_.mask
                                                                   : rows_.types;
      return {input.name, to_tensor(rows), "text"};
    }
    ir::Bindings sizes = sizes_;
    sizes.emplace("b", batch_);
    sizes.emplace("s", std::min(kRandomTokens, spec->longest));
    const bool varies = spec->kind == InputKind::picture || spec->kind == InputKind::token_ids;
    return {input.name, default_input(*spec, sizes, request_.seed).to(input.dtype()),
            varies ? fmt::format("random, seed {}", request_.seed) : "default"};
  }

  NamedInput from_file(const ir::Value& input, const InputSpec* spec) const {
    Tensor tensor = file_->get(input.name);
    if (is_floating(tensor.dtype()) && is_floating(input.dtype())) {
      tensor = tensor.to(input.dtype());
    }
    const bool has_length = spec != nullptr && spec->longest > 0 && tensor.shape().size() == 2;
    if (has_length && tensor.shape()[1] > spec->longest) {
      fail(ErrorCode::invalid_argument, kStage, "Shorten it.",
           "expected at most {} tokens in {}, got {}", spec->longest, request_.file,
           tensor.shape()[1]);
    }
    return {input.name, tensor, request_.file};
  }

  /// An input of a graph text file that nobody gave: standard normal values.
  NamedInput random(const ir::Value& input) const {
    if (!is_floating(input.dtype())) {
      fail(ErrorCode::invalid_argument, kStage, "Give it with --inputs FILE.safetensors.",
           "expected values of {}, got none", name_of(input.dtype()));
    }
    InputSpec spec{input.name, InputKind::picture, input.dtype(), input.shape()};
    ir::Bindings sizes = sizes_;
    for (const std::string& symbol : graph_.symbols()) sizes.emplace(symbol, batch_);
    return {input.name, default_input(spec, sizes, request_.seed).to(input.dtype()),
            fmt::format("random, seed {}", request_.seed)};
  }

  NamedInput picture(const ir::Value& input) const {
    const auto processor = image::ImageProcessor::from_folder(source_.path());
    std::vector<image::Picture> pictures;
    std::string origin;
    for (const std::string& path : request_.pictures) {
      pictures.push_back(image::read_picture(path));
      origin += (origin.empty() ? "" : ", ") + std::filesystem::path(path).filename().string();
    }
    const Tensor given = processor(pictures).to(input.dtype());  // (n, C, H, W)
    std::vector<int64_t> shape = given.shape();
    const int64_t count = shape[0];
    shape[0] = batch_;
    Tensor batch = Tensor::empty(given.dtype(), shape);
    const size_t bytes = given.bytes() / static_cast<size_t>(count);
    for (int64_t i = 0; i < batch_; ++i) {
      std::memcpy(batch.as<char>() + static_cast<size_t>(i) * bytes,
                  given.as<char>() + static_cast<size_t>(i % count) * bytes, bytes);
    }
    return {input.name, batch, origin};
  }

  void tokenize() {
    const auto tokenizer = text::Tokenizer::from_folder(source_.path());
    const auto count = static_cast<int64_t>(request_.texts.size());
    for (int64_t i = 0; i < std::max(batch_, count); ++i) {
      const std::string& one = request_.texts[static_cast<size_t>(i % count)];
      text::Encoding encoding = tokenizer.encode(one, {.pad = false});
      if (encoding.ids.empty()) {
        fail(ErrorCode::invalid_argument, kStage, "Give a text of at least one token.",
             "expected a text, got one without tokens");
      }
      rows_.length = std::max(rows_.length, static_cast<int64_t>(encoding.ids.size()));
      rows_.ids.emplace_back(encoding.ids.begin(), encoding.ids.end());
      rows_.mask.emplace_back(encoding.ids.size(), 1);
      rows_.types.emplace_back(encoding.type_ids.begin(), encoding.type_ids.end());
    }
    check_rows();
  }

  void check_rows() {
    const auto length = static_cast<size_t>(rows_.length);
    const bool ragged = std::any_of(rows_.ids.begin(), rows_.ids.end(),
                                    [&](const auto& row) { return row.size() != length; });
    if (ragged && !takes(InputKind::attention_mask)) {
      fail(ErrorCode::invalid_argument, kStage, "Give texts of equal length, or one at a time.",
           "{} takes no attention mask, so its texts cannot be padded", source_.path().string());
    }
    const int64_t longest = source_.model()->context_length();
    if (rows_.length > longest) {
      fail(ErrorCode::invalid_argument, kStage, "Shorten the text.",
           "expected at most {} tokens, got {}", longest, rows_.length);
    }
    for (auto* rows : {&rows_.ids, &rows_.mask, &rows_.types}) {
      for (auto& row : *rows) row.resize(length, 0);  // masked out: any id does
    }
  }

  static Tensor to_tensor(const std::vector<std::vector<int64_t>>& rows) {
    const size_t length = rows.front().size();
    Tensor tensor = Tensor::empty(
        DType::int64, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(length)});
    int64_t* target = tensor.as<int64_t>();
    for (const auto& row : rows) target = std::copy(row.begin(), row.end(), target);
    return tensor;
  }

  const Source& source_;
  const ir::Graph& graph_;
  const InputRequest& request_;
  std::vector<InputSpec> specs_;
  std::optional<importer::SafetensorsFile> file_;
  TokenRows rows_;
  ir::Bindings sizes_;
  int64_t batch_ = 1;
};

}  // namespace

std::vector<NamedInput> resolve_inputs(const Source& source, const ir::Graph& graph,
                                       const InputRequest& request) {
  return Resolver(source, graph, request).run();
}

}  // namespace ostinato::runtime
