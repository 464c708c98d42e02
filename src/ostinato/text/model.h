#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/text/json_part.h"
#include "ostinato/text/vocabulary.h"

namespace ostinato::text {

/// A token of a word; the offsets are bytes of the word.
struct Token {
  uint32_t id;
  uint32_t begin, end;
};

/// What a model works in; reused from word to word, owned by one thread.
struct ModelWorkspace {
  struct Symbol {
    uint32_t id, length;     // bytes of the word; 0 once merged into the symbol before
    int32_t previous, next;  // -1 at the ends
  };
  struct Candidate {
    uint32_t rank, position, merged;  // the pair that begins at a symbol, and what it becomes
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> candidates;
  std::string text;
};

/// Tokenizes words. Immutable: threads may share one.
class Model {
 public:
  virtual ~Model() = default;

  /// Appends the tokens of `word`, valid UTF-8 and not empty.
  virtual void tokenize(std::string_view word, ModelWorkspace& workspace,
                        std::vector<Token>& tokens) const = 0;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  explicit Model(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

 private:
  Vocabulary vocabulary_;
};

/// The pairs of the `merges` section as they stand in the file: two texts each, in one buffer.
class MergeList {
 public:
  void add(std::string_view left, std::string_view right);
  size_t size() const { return ends_.size() / 2; }
  std::string_view left(size_t i) const { return text(2 * i); }
  std::string_view right(size_t i) const { return text(2 * i + 1); }

 private:
  std::string_view text(size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(texts_).substr(begin, ends_[i] - begin);
  }

  std::string texts_;
  std::vector<size_t> ends_;
};

/// Builds the model of the `model` section. The two large fields come separately.
/// @throws Error when `part` asks for dropout or anything else that is not offered
std::unique_ptr<Model> make_bpe(JsonPart& part, Vocabulary vocabulary, const MergeList& merges);
std::unique_ptr<Model> make_word_piece(JsonPart& part, Vocabulary vocabulary);

}  // namespace ostinato::text
