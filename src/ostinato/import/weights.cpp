#include "ostinato/import/weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <exception>
#include <functional>
#include <mutex>

#include "ostinato/base/digest_pieces.h"
#include "ostinato/base/dtype.h"
#include "ostinato/base/error.h"
#include "ostinato/base/json.h"
#include "ostinato/base/known_files.h"
#include "ostinato/base/memory.h"
#include "ostinato/base/threads.h"

namespace ostinato::importer {

namespace {

constexpr std::string_view kStage = "import/weights";
constexpr std::string_view kWrongFolder =
    "Check that config.json and the weights are of the same model.";

constexpr std::string_view kTooLarge = "Use a smaller model or a narrower dtype (--dtype).";

/// Names for an error: the first few, and how many more.
std::string listed(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  std::vector<std::string> shown;
  for (size_t i = 0; i < std::min(names.size(), kShown); ++i) shown.push_back(quote(names[i]));
  std::string text = fmt::format("{}", fmt::join(shown, ", "));
  if (names.size() > kShown) text += fmt::format(" and {} more", names.size() - kShown);
  return text;
}

/// Replaces the first whole part `from` of a dotted name.
std::string renamed(std::string name, std::string_view from, std::string_view to) {
  for (size_t at = name.find(from); at != std::string::npos; at = name.find(from, at + 1)) {
    if (at == 0 || name[at - 1] == '.' || from.front() == '.') {
      return name.replace(at, from.size(), to);
    }
  }
  return name;
}

/// Weights in pieces small enough that threads share them evenly.
struct Piece {
  size_t weight;
  int64_t begin, end;
};

std::vector<Piece> cut(const std::vector<int64_t>& sizes) {
  constexpr int64_t kPiece = int64_t{1} << 20;
  std::vector<Piece> pieces;
  for (size_t i = 0; i < sizes.size(); ++i) {
    for (int64_t begin = 0; begin < sizes[i]; begin += kPiece) {
      pieces.push_back({i, begin, std::min(begin + kPiece, sizes[i])});
    }
  }
  return pieces;
}

/// Calls `work` for each piece on all threads; throws what the first piece in order threw.
/// @param what is being done, for the progress
void for_each_piece(const std::vector<Piece>& pieces, std::string_view what,
                    const Progress& progress, const std::function<void(const Piece&)>& work) {
  if (pieces.empty()) return;
  std::atomic<size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  size_t error_at = pieces.size();
  ThreadTeam team(default_threads());
  team.run([&](Worker worker) {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < pieces.size();) {
      try {
        work(pieces[i]);
      } catch (...) {
        const std::scoped_lock lock(mutex);
        if (i < error_at) {
          error_at = i;
          error = std::current_exception();
        }
        next.store(pieces.size(), std::memory_order_relaxed);
      }
      if (progress && worker.index == 0) {
        progress(what, static_cast<double>(i) / static_cast<double>(pieces.size()));
      }
    }
  });
  if (error) std::rethrow_exception(error);
  if (progress) progress(what, 1);
}

Tensor slice(const Tensor& tensor, int64_t begin, int64_t end) {
  auto* bytes = static_cast<uint8_t*>(const_cast<void*>(tensor.data()));
  const auto offset = static_cast<size_t>(begin) * size_of(tensor.dtype());
  return Tensor::borrow(bytes + offset, tensor.dtype(), {end - begin}, nullptr);
}

void convert(const Tensor& source, Tensor& target, int64_t begin, int64_t end) {
  dispatch(target.dtype(), [&](auto to) {
    dispatch(source.dtype(), [&](auto from) {
      using To = typename decltype(to)::type;
      using From = typename decltype(from)::type;
      if constexpr (is_floating_v<To> && is_floating_v<From>) {
        const From* in = source.as<From>();
        To* out = target.as<To>();
        for (int64_t i = begin; i < end; ++i) out[i] = from_float<To>(to_float(in[i]));
      }
    });
  });
}

/// One parameter on its way from the file.
struct Load {
  const Parameter* parameter;
  std::string name;  ///< in the checkpoint
  Tensor source, target;
  std::vector<Digest> digests;  ///< of the target's parts, where they are to be noted
};

std::span<const uint8_t> bytes_of(const Tensor& tensor) {
  return {static_cast<const uint8_t*>(tensor.data()), tensor.bytes()};
}

Load begin_load(const Checkpoint& checkpoint, const Parameter& parameter, std::string_view name) {
  const TensorInfo info = checkpoint.info(name);
  const std::string& file = checkpoint.file_of(name).name();
  if (info.shape != parameter.shape) {
    fail(ErrorCode::invalid_argument, kStage, kWrongFolder,
         "{}: tensor {}: expected shape ({}), got ({})", file, quote(name),
         fmt::join(parameter.shape, ", "), fmt::join(info.shape, ", "));
  }
  if (!is_floating(info.dtype)) {
    fail(ErrorCode::unsupported, kStage, "Use the model's weights before quantisation.",
         "{}: tensor {}: expected float32, bfloat16 or float16, got {}", file, quote(name),
         name_of(info.dtype));
  }
  return {&parameter, std::string(name), checkpoint.get(name), {}, {}};
}

/// A tensor that the file has in the dtype wanted is used in place; for the others there must be
/// memory.
void make_targets(std::vector<Load>& loads, DType dtype) {
  size_t bytes = 0;
  for (const Load& load : loads) {
    if (load.source.dtype() != dtype) {
      bytes += static_cast<size_t>(load.source.numel()) * size_of(dtype);
    }
  }
  if (bytes > 0) require_memory(bytes, "the converted weights", kTooLarge);
  for (Load& load : loads) {
    load.target =
        load.source.dtype() == dtype ? load.source : Tensor::empty(dtype, load.source.shape());
  }
}

[[noreturn]] void refuse_value(const Checkpoint& checkpoint, const Load& load, int64_t index) {
  checkpoint.require_finite(load.name);
  fail(ErrorCode::invalid_argument, kStage, "Use --dtype bfloat16 or float32.",
       "{}: tensor {}: the value at element {} is too large for {}",
       checkpoint.file_of(load.name).name(), quote(load.name), index, name_of(load.target.dtype()));
}

void finish_piece(const Checkpoint& checkpoint, Load& load, const Piece& piece) {
  if (load.target.data() != load.source.data()) {
    convert(load.source, load.target, piece.begin, piece.end);
  }
  // In parts that stay in the cache from the one look at them to the other.
  const auto part = static_cast<int64_t>(kDigestPiece / size_of(load.target.dtype()));
  for (int64_t begin = piece.begin; begin < piece.end; begin += part) {
    const Tensor values = slice(load.target, begin, std::min(begin + part, piece.end));
    if (const auto bad = find_non_finite(values)) refuse_value(checkpoint, load, begin + *bad);
    if (load.digests.empty()) continue;
    load.digests[static_cast<size_t>(begin / part)] = digest_piece(bytes_of(values));
  }
}

/// Whether a tensor and its twin are equal, which notes of both tell as well.
bool are_equal(const Tensor& a, const Tensor& b, const KnownFiles* known) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  if (known != nullptr) {
    const auto note = known->find(bytes_of(a)), other = known->find(bytes_of(b));
    if (note && other) return note->digest == other->digest;
  }
  return std::memcmp(a.data(), b.data(), a.bytes()) == 0;
}

/// The tensors that must be read: all but those in place that are known. Of the others in place
/// there will be digests.
std::vector<int64_t> sizes_to_read(std::vector<Load>& loads, const KnownFiles* known) {
  std::vector<int64_t> sizes;
  for (Load& load : loads) {
    const auto bytes = bytes_of(load.target);
    const bool in_place = load.target.data() == load.source.data();
    const bool is_covered = known != nullptr && in_place && known->covers(bytes);
    const bool is_known = is_covered && known->find(bytes);
    sizes.push_back(is_known ? 0 : load.target.numel());
    if (!is_covered || is_known) continue;
    load.digests.resize((bytes.size() + kDigestPiece - 1) / kDigestPiece);
  }
  return sizes;
}

/// Once all are read and equal to their twins.
void note(const std::vector<Load>& loads, const Checkpoint& checkpoint, const WeightMatch& match,
          KnownFiles& known) {
  for (const Load& load : loads) {
    if (!load.digests.empty()) known.note(bytes_of(load.target), join_digests(load.digests));
  }
  for (const auto& [twin, name] : match.tied) {
    const auto bytes = bytes_of(checkpoint.get(twin));
    const auto same = known.find(bytes_of(checkpoint.get(name)));
    if (same && !known.find(bytes)) known.note(bytes, same->digest);
  }
  known.save();
}

bool has_ending(std::string_view name, const std::vector<std::string_view>& endings) {
  return std::any_of(endings.begin(), endings.end(),
                     [name](std::string_view ending) { return name.ends_with(ending); });
}

void refuse_extra(const CheckpointNames& names, const Family& family,
                  const std::set<std::string, std::less<>>& used) {
  std::vector<std::string> extra;
  for (const auto& [parameter, name] : names.all()) {
    if (used.contains(parameter) || has_ending(parameter, family.harmless) ||
        names.is_of_a_head(parameter)) {
      continue;
    }
    extra.push_back(name);
  }
  if (extra.empty()) return;
  fail(ErrorCode::invalid_argument, kStage, kWrongFolder,
       "the weights have {} that the model of config.json has no place for", listed(extra));
}

}  // namespace

CheckpointNames::CheckpointNames(const std::vector<std::string>& tensors, const Family& family,
                                 std::string_view architecture, std::string_view source) {
  const std::string base = fmt::format("{}.", family.base_prefix);
  const bool is_base = architecture == family.base_class;
  prefix_ = is_base ? "" : base;
  const bool has_prefix = std::any_of(tensors.begin(), tensors.end(), [&](const std::string& name) {
    return name.starts_with(base);
  });
  strips_ = is_base && has_prefix;
  const bool adds = !is_base && !has_prefix;
  for (const std::string& name : tensors) {
    std::string parameter = renamed(name, "LayerNorm.gamma", "LayerNorm.weight");
    parameter = renamed(parameter, "LayerNorm.beta", "LayerNorm.bias");
    for (const auto& [from, to] : family.renames) parameter = renamed(parameter, from, to);
    const bool of_base = parameter.starts_with(base);
    if (strips_ && of_base) parameter = parameter.substr(base.size());
    if (adds) parameter.insert(0, base);
    const auto [it, inserted] = names_.emplace(parameter, name);
    if (!inserted) {
      fail(ErrorCode::corrupt, kStage, "Take the weights from the model's source.",
           "{}: tensors {} and {} are the same weight", source, quote(it->second), quote(name));
    }
    head_.emplace(parameter, strips_ && !of_base);
  }
}

std::string_view CheckpointNames::find(std::string_view parameter) const {
  const auto it = names_.find(parameter);
  return it == names_.end() ? std::string_view() : std::string_view(it->second);
}

bool CheckpointNames::has_module(std::string_view module) const {
  const std::string start = fmt::format("{}{}.", prefix_, module);
  const auto it = names_.lower_bound(start);
  return it != names_.end() && it->first.starts_with(start);
}

bool CheckpointNames::is_of_a_head(std::string_view parameter) const {
  const auto it = head_.find(parameter);
  return it != head_.end() && it->second;
}

int64_t checked_numel(const Parameter& parameter) {
  constexpr int64_t kMost = int64_t{1} << 40;
  int64_t count = 1;
  for (const int64_t size : parameter.shape) {
    if (__builtin_mul_overflow(count, size, &count) || count > kMost) {
      fail(ErrorCode::invalid_argument, kStage, "Correct the sizes in config.json.",
           "expected a weight of at most 2^40 elements, got {} of ({})", parameter.name,
           fmt::join(parameter.shape, ", "));
    }
  }
  return count;
}

WeightMatch match_weights(const CheckpointNames& names, const Family& family,
                          const std::vector<Parameter>& parameters,
                          const std::vector<std::pair<std::string, std::string>>& tied) {
  WeightMatch match;
  std::set<std::string, std::less<>> used;
  std::vector<std::string> missing;
  for (const Parameter& parameter : parameters) {
    std::string_view name = names.find(parameter.name);
    for (const auto& [other, parameter_name] : tied) {
      const std::string_view twin = names.find(other);
      if (parameter_name != parameter.name || twin.empty()) continue;
      used.insert(other);
      if (name.empty()) {
        name = twin;
      } else {
        match.tied.emplace_back(twin, name);
      }
    }
    used.insert(parameter.name);
    if (name.empty()) missing.push_back(parameter.name);
    match.names.emplace_back(name);
  }
  if (!missing.empty()) {
    fail(ErrorCode::not_found, kStage,
         "Check that config.json and the weights are of the same model, or ask for random weights "
         "with --weights random.",
         "the weights lack {}", listed(missing));
  }
  refuse_extra(names, family, used);
  return match;
}

Weights load_weights(const Checkpoint& checkpoint, const WeightMatch& match,
                     const std::vector<Parameter>& parameters, DType dtype,
                     const Progress& progress, KnownFiles* known) {
  if (known != nullptr) {
    for (const SafetensorsFile& shard : checkpoint.shards()) known->open(shard.mapping());
  }
  std::vector<Load> loads;
  for (size_t i = 0; i < parameters.size(); ++i) {
    loads.push_back(begin_load(checkpoint, parameters[i], match.names[i]));
  }
  for (const auto& [twin, name] : match.tied) {
    if (are_equal(checkpoint.get(twin), checkpoint.get(name), known)) continue;
    fail(ErrorCode::invalid_argument, kStage,
         "Set tie_word_embeddings to false in config.json if both are meant.",
         "{}: tensors {} and {} are tied, yet differ", checkpoint.file_of(twin).name(), quote(twin),
         quote(name));
  }
  make_targets(loads, dtype);
  for_each_piece(cut(sizes_to_read(loads, known)), "reading weights", progress,
                 [&](const Piece& piece) { finish_piece(checkpoint, loads[piece.weight], piece); });
  if (known != nullptr) note(loads, checkpoint, match, *known);
  Weights weights;
  for (Load& load : loads) weights.emplace(load.parameter->name, std::move(load.target));
  return weights;
}

Weights random_weights(const std::vector<Parameter>& parameters, DType dtype, uint64_t seed,
                       const Progress& progress) {
  std::vector<Tensor> tensors;
  std::vector<int64_t> sizes;
  std::vector<uint64_t> keys;
  size_t bytes = 0;
  for (const Parameter& parameter : parameters) {
    sizes.push_back(checked_numel(parameter));
    keys.push_back(random_key(seed, parameter.name));
    bytes += static_cast<size_t>(sizes.back()) * size_of(dtype);
  }
  require_memory(bytes, "the weights", kTooLarge);
  for (const Parameter& parameter : parameters) {
    tensors.push_back(Tensor::empty(dtype, parameter.shape));
  }
  for_each_piece(cut(sizes), "making weights", progress, [&](const Piece& piece) {
    const size_t i = piece.weight;
    fill_random(tensors[i], parameters[i].init, keys[i], piece.begin, piece.end);
  });
  Weights weights;
  for (size_t i = 0; i < tensors.size(); ++i) {
    weights.emplace(parameters[i].name, std::move(tensors[i]));
  }
  return weights;
}

}  // namespace ostinato::importer
