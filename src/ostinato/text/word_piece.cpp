#include "ostinato/base/error.h"
#include "ostinato/text/model.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

namespace {

/// Longest match first (BERT). A word that does not come out even is unknown as a whole.
class WordPiece : public Model {
 public:
  WordPiece(JsonPart& part, Vocabulary vocabulary)
      : Model(std::move(vocabulary)),
        unknown_(part.text("unk_token")),
        prefix_(part.text("continuing_subword_prefix")),
        max_characters_(part.count("max_input_chars_per_word")) {}

  void tokenize(std::string_view word, ModelWorkspace& workspace,
                std::vector<Token>& tokens) const override {
    if (word.size() > max_characters_ && count_code_points(word) > max_characters_) {
      return add_unknown(word, tokens);
    }
    const size_t before = tokens.size();
    for (size_t begin = 0; begin < word.size();) {
      const size_t end = longest_match(word, begin, workspace.text, tokens);
      if (end == begin) {
        tokens.resize(before);
        return add_unknown(word, tokens);
      }
      begin = end;
    }
  }

 private:
  /// @return where the token ends, `begin` when none matches
  size_t longest_match(std::string_view word, size_t begin, std::string& candidate,
                       std::vector<Token>& tokens) const {
    candidate.clear();
    if (begin > 0) candidate = prefix_;
    const size_t prefix = candidate.size();
    candidate += word.substr(begin);
    for (size_t end = word.size(); end > begin;) {
      const auto known = std::string_view(candidate).substr(0, prefix + end - begin);
      if (const auto id = vocabulary().find(known)) {
        tokens.push_back({*id, static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
        return end;
      }
      do --end;
      while (end > begin && is_continuation(word[end]));
    }
    return begin;
  }

  void add_unknown(std::string_view word, std::vector<Token>& tokens) const {
    const auto id = vocabulary().find(unknown_);
    if (!id) {
      fail(ErrorCode::corrupt, kStage, "Add the unknown token to model.vocab.",
           "expected model.unk_token '{}' in model.vocab for a word that it does not cover, got "
           "none",
           unknown_);
    }
    tokens.push_back({*id, 0, static_cast<uint32_t>(word.size())});
  }

  std::string unknown_, prefix_;
  size_t max_characters_;
};

}  // namespace

std::unique_ptr<Model> make_word_piece(JsonPart& part, Vocabulary vocabulary) {
  return std::make_unique<WordPiece>(part, std::move(vocabulary));
}

}  // namespace ostinato::text
