#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ostinato::text {

/// A tokenized text. All vectors have one element a token.
struct Encoding {
  std::vector<int64_t> ids;
  std::vector<int64_t> type_ids;             ///< 0, or 1 for the second text of a pair
  std::vector<int64_t> attention_mask;       ///< 0 for padding
  std::vector<int64_t> special_tokens_mask;  ///< 1 for what the post-processor or padding added
  std::vector<std::string> pieces;           ///< as they stand in the vocabulary
  /// [begin, end) in code points of the text, as the `tokenizers` library gives them; (0, 0) for
  /// what is not of the text.
  std::vector<std::pair<size_t, size_t>> offsets;

  size_t size() const { return ids.size(); }
  void append(int64_t id, std::string piece, std::pair<size_t, size_t> offset, bool special);
  void append(const Encoding& other);
  /// Keeps the tokens [begin, end).
  void keep(size_t begin, size_t end);
};

}  // namespace ostinato::text
