#include "ostinato/text/stream_decoder.h"

#include <algorithm>
#include <utility>

#include "ostinato/text/tokenizer_parts.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens, UnknownIds unknown)
    : tokenizer_(std::move(tokenizer)),
      skip_special_tokens_(skip_special_tokens),
      unknown_(unknown) {}

std::string StreamDecoder::push(int64_t id) {
  if (skip_special_tokens_ && tokenizer_.is_special(id)) return {};
  const auto& decoder = tokenizer_.parts_->decoder;
  return decoder && decoder->is_byte_level() ? push_bytes(id) : push_window(id);
}

std::string StreamDecoder::push_bytes(int64_t id) {
  const auto token = tokenizer_.parts_->decodable(id, unknown_);
  if (!token) return {};
  append_byte_level(*token, bytes_);
  size_t end = 0;
  while (end < bytes_.size()) {
    const Utf8Step step = utf8_step(bytes_, end);
    if (step.kind == Utf8Step::Kind::truncated) break;
    end += step.length;
  }
  std::string text = replace_invalid_utf8(std::string_view(bytes_).substr(0, end));
  bytes_.erase(0, end);
  return text;
}

std::string StreamDecoder::push_window(int64_t id) {
  const auto token = tokenizer_.parts_->decodable(id, unknown_);
  if (!token) return {};
  window_.push_back(id);
  const auto& decoder = tokenizer_.parts_->decoder;
  if (decoder && decoder->looks_ahead(*token)) return {};
  std::string text = hidden_text();
  // A text that ends in U+FFFD may be the beginning of a code point.
  if (text.empty() || text.ends_with("\xEF\xBF\xBD")) return {};
  window_.erase(window_.begin(), window_.begin() + static_cast<std::ptrdiff_t>(shown_));
  shown_ = window_.size();
  return text;
}

std::string StreamDecoder::hidden_text() const {
  const auto shown = std::span(window_).first(shown_);
  const std::string before = tokenizer_.decode(shown, skip_special_tokens_);
  std::string text = tokenizer_.decode(window_, skip_special_tokens_);
  const auto same = std::mismatch(text.begin(), text.end(), before.begin(), before.end()).first;
  text.erase(text.begin(), same);
  while (!text.empty() && is_continuation(text.front())) text.erase(0, 1);
  return text;
}

std::string StreamDecoder::finish() {
  std::string text = replace_invalid_utf8(bytes_);
  bytes_.clear();
  if (shown_ < window_.size()) text += hidden_text();
  window_.clear();
  shown_ = 0;
  return text;
}

}  // namespace ostinato::text
