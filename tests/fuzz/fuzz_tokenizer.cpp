#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "ostinato/error.h"
#include "ostinato/text/stream_decoder.h"
#include "text/small_tokenizer.h"

using ostinato::text::StreamDecoder;
using ostinato::text::Tokenizer;

namespace {

void require(bool truth) {
  if (!truth) std::abort();
}

/// Any bytes through a good tokenizer: what comes back is the text, streamed or not.
void check_round_trip(const Tokenizer& tokenizer, std::string_view bytes) {
  const auto encoding = tokenizer.encode(bytes);
  const std::string text = tokenizer.decode(encoding.ids, false);
  require(text == ostinato::text::replace_invalid_utf8(bytes));
  require(encoding.offsets.size() == encoding.ids.size());
  StreamDecoder stream(tokenizer, false);
  std::string streamed;
  for (int64_t id : encoding.ids) streamed += stream.push(id);
  require(streamed + stream.finish() == text);
}

/// Any bytes as a tokenizer.json: an Error, or a tokenizer that works on any text.
void check_file(std::string_view file, std::string_view text) {
  try {
    const Tokenizer tokenizer = Tokenizer::from_json(file);
    const auto encoding = tokenizer.encode_pair(text, text);
    tokenizer.decode(encoding.ids, true, ostinato::text::UnknownIds::skip);
  } catch (const ostinato::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Tokenizer kByteLevel = ostinato::text::byte_level_tokenizer();
  static const Tokenizer kBert = Tokenizer::from_json(ostinato::text::bert_json().dump());
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  check_round_trip(kByteLevel, input);
  kBert.decode(kBert.encode(input).ids);
  // A NUL, which JSON does not have, parts the file from the text.
  const size_t end = std::min(input.find('\0'), size);
  check_file(input.substr(0, end), input.substr(end));
  return 0;
}
