#include "ostinato/text/tokenizer.h"

#include "ostinato/base/error.h"
#include "ostinato/base/mapped_file.h"
#include "ostinato/text/tokenizer_parts.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

Tokenizer Tokenizer::from_folder(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "tokenizer.json";
  if (!std::filesystem::exists(path)) {
    fail(ErrorCode::not_found, kStage,
         "Give a model folder with a tokenizer.json; save_pretrained of a fast tokenizer of "
         "transformers writes one.",
         "there is no file {}", path.string());
  }
  const auto file = MappedFile::open(path);
  return naming(path.string(), [&file] {
    return from_json({reinterpret_cast<const char*>(file->data()), file->size()});
  });
}

Tokenizer Tokenizer::from_json(std::string_view json) {
  return Tokenizer(std::make_shared<const Parts>(json));
}

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<Encoding> encodings;
  encodings.push_back(parts_->tokenize(text, 0));
  return parts_->finish(std::move(encodings), options);
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second,
                                const EncodeOptions& options) const {
  std::vector<Encoding> encodings;
  encodings.push_back(parts_->tokenize(first, 0));
  encodings.push_back(parts_->tokenize(second, 1));
  return parts_->finish(std::move(encodings), options);
}

std::string Tokenizer::decode(std::span<const int64_t> ids, bool skip_special_tokens,
                              UnknownIds unknown) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (int64_t id : ids) {
    if (skip_special_tokens && parts_->is_special(id)) continue;
    if (const auto token = parts_->decodable(id, unknown)) tokens.emplace_back(*token);
  }
  return parts_->decode(std::move(tokens));
}

size_t Tokenizer::vocab_size() const { return parts_->vocab_size(); }

std::optional<int64_t> Tokenizer::token_to_id(std::string_view token) const {
  return parts_->token_to_id(token);
}

std::optional<std::string> Tokenizer::id_to_token(int64_t id) const {
  if (const auto token = parts_->token(id)) return std::string(*token);
  return std::nullopt;
}

bool Tokenizer::is_special(int64_t id) const { return parts_->is_special(id); }

}  // namespace ostinato::text
