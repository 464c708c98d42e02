#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ostinato/text/aligned_text.h"
#include "ostinato/text/json_part.h"
#include "ostinato/text/normalizer.h"
#include "ostinato/text/vocabulary.h"

namespace ostinato::text {

/// A token of the `added_tokens` section: found in the text before the model sees it.
struct AddedToken {
  int64_t id;
  std::string content;
  std::string normalized_content;  ///< what is looked for; equal to content unless `normalized`
  bool special;                    ///< left out when decoding skips special tokens
  bool single_word;                ///< only where no word character touches it
  bool lstrip, rstrip;             ///< takes the white space before or after it along
  bool normalized;                 ///< looked for in the normalised text
};

class AddedTokens {
 public:
  /// @param normalizer may be null
  /// @throws Error when an id contradicts the vocabulary or another token
  AddedTokens(const Json* section, const Vocabulary& vocabulary, const Normalizer* normalizer);
  AddedTokens(const AddedTokens&) = delete;
  AddedTokens& operator=(const AddedTokens&) = delete;

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const AddedToken* find(std::string_view content) const;
  const AddedToken* find(int64_t id) const;

  /// Cuts the added tokens out of the text, and normalises the rest between.
  void extract(AlignedText& text, const Normalizer* normalizer) const;

 private:
  /// Finds at a position the longest of its patterns that begins there.
  class Finder {
   public:
    void add(const std::string& pattern, size_t token);
    void finish();
    bool empty() const { return patterns_.empty(); }
    /// @return the pattern, or null
    const std::pair<std::string, size_t>* longest_at(std::string_view text, size_t at) const;

   private:
    struct Range {
      uint32_t begin = 0, end = 0;
    };
    std::vector<std::pair<std::string, size_t>> patterns_;  // sorted, with their tokens
    std::array<Range, 256> by_first_byte_{};
  };

  void cut(std::string_view text, const Finder& finder, std::vector<Cut>& cuts) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string_view, size_t> by_content_;
  std::unordered_map<int64_t, size_t> by_id_;
  Finder raw_, normalized_;
};

}  // namespace ostinato::text
