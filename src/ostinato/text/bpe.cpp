#include <algorithm>
#include <array>
#include <limits>

#include "ostinato/base/error.h"
#include "ostinato/text/model.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

void MergeList::add(std::string_view left, std::string_view right) {
  for (std::string_view part : {left, right}) {
    texts_ += part;
    ends_.push_back(texts_.size());
  }
}

namespace {

constexpr std::string_view kRemedy = "Use an undamaged tokenizer.json.";
constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

/// What a pair of tokens becomes, and how early.
struct Merge {
  uint32_t rank = kNone, id = kNone;
};

/// From a pair of ids to its merge: open addressing, at most half full.
class MergeTable {
 public:
  explicit MergeTable(size_t pairs) {
    size_t slots = 16;
    while (slots < pairs * 2) slots *= 2;
    slots_.resize(slots);
  }

  /// A pair that comes again takes its later rank.
  void insert(uint32_t left, uint32_t right, Merge merge) {
    Slot& slot = slots_[index(key_of(left, right))];
    slot = {key_of(left, right), merge};
  }

  Merge find(uint32_t left, uint32_t right) const {
    return slots_[index(key_of(left, right))].merge;
  }

 private:
  static constexpr uint64_t kEmpty = std::numeric_limits<uint64_t>::max();  // no pair of ids
  struct Slot {
    uint64_t key = kEmpty;
    Merge merge;
  };

  static uint64_t key_of(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }

  /// Of the key's slot, or of the empty one where it would be.
  size_t index(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    uint64_t hash = key * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
    size_t slot = hash & mask;
    while (slots_[slot].key != key && slots_[slot].key != kEmpty) slot = (slot + 1) & mask;
    return slot;
  }

  std::vector<Slot> slots_;
};

/// Byte pair encoding: begins with a word's code points and merges the pair of the lowest rank,
/// the leftmost of equals, until no pair has a rank.
class Bpe : public Model {
 public:
  Bpe(JsonPart& part, Vocabulary vocabulary, const MergeList& merges)
      : Model(std::move(vocabulary)),
        unknown_(part.optional_text("unk_token")),
        prefix_(part.optional_text("continuing_subword_prefix").value_or("")),
        suffix_(part.optional_text("end_of_word_suffix").value_or("")),
        fuse_unknown_(part.boolean("fuse_unk", false)),
        byte_fallback_(part.boolean("byte_fallback", false)),
        ignore_merges_(part.boolean("ignore_merges", false)),
        merges_(merges.size()) {
    if (const Json* dropout = part.find("dropout"); dropout && *dropout != 0.0) {
      fail(ErrorCode::unsupported, kStage,
           "Set model.dropout to null: with dropout the same text has different ids every time.",
           "expected model.dropout to be null, got {}", describe(*dropout));
    }
    std::string merged;
    for (size_t i = 0; i < merges.size(); ++i) add_merge(merges, i, merged);
    find_characters();
    if (byte_fallback_) find_fallbacks();
    if (unknown_) unknown_id_ = this->vocabulary().find(*unknown_);
  }

  void tokenize(std::string_view word, ModelWorkspace& workspace,
                std::vector<Token>& tokens) const override {
    if (ignore_merges_) {
      if (const auto id = vocabulary().find(word)) {
        tokens.push_back({*id, 0, static_cast<uint32_t>(word.size())});
        return;
      }
    }
    auto& symbols = workspace.symbols;
    symbols.clear();
    spell(word, workspace);
    // The scan is quadratic but has no overhead; most words have a handful of symbols.
    constexpr size_t kLongWord = 24;
    symbols.size() <= kLongWord ? merge_short(workspace) : merge_long(workspace);
    uint32_t begin = 0;
    for (const auto& symbol : symbols) {
      if (symbol.length == 0) continue;
      tokens.push_back({symbol.id, begin, begin + symbol.length});
      begin += symbol.length;
    }
  }

 private:
  using Symbol = ModelWorkspace::Symbol;
  using Candidate = ModelWorkspace::Candidate;

  uint32_t merge_operand(std::string_view token, size_t i) const {
    const auto id = vocabulary().find(token);
    if (!id) {
      fail(ErrorCode::corrupt, kStage, kRemedy,
           "expected model.merges to name tokens of model.vocab, got '{}' in merge {}", token, i);
    }
    return *id;
  }

  void add_merge(const MergeList& merges, size_t i, std::string& merged) {
    const std::string_view left = merges.left(i), right = merges.right(i);
    if (right.size() < prefix_.size()) {
      fail(ErrorCode::corrupt, kStage, kRemedy,
           "expected the right side of merge {} to begin with '{}', got '{}'", i, prefix_, right);
    }
    merged.assign(left).append(right.substr(prefix_.size()));
    const uint32_t left_id = merge_operand(left, i), right_id = merge_operand(right, i);
    merges_.insert(left_id, right_id, {static_cast<uint32_t>(i), merge_operand(merged, i)});
  }

  /// A table for the characters that most texts consist of.
  void find_characters() {
    characters_.fill(kNone);
    for (char32_t c = 0; c < characters_.size(); ++c) {
      std::string text;
      append_utf8(text, c);
      characters_[c] = vocabulary().find(text).value_or(kNone);
    }
  }

  void find_fallbacks() {
    for (unsigned byte = 0; byte < 256; ++byte) {
      fallbacks_[byte] = vocabulary().find(fmt::format("<0x{:02X}>", byte)).value_or(kNone);
    }
  }

  static void append(std::vector<Symbol>& symbols, uint32_t id, size_t length) {
    symbols.push_back({id, static_cast<uint32_t>(length), -1, -1});
  }

  /// The word's code points as symbols. Unknown ones become bytes, the unknown token, or nothing.
  void spell(std::string_view word, ModelWorkspace& workspace) const {
    auto& symbols = workspace.symbols;
    std::string& text = workspace.text;
    size_t unknown_length = 0;  // of the unknown token that is not appended yet; 0 is none
    const auto flush = [&] {
      if (unknown_length > 0) append(symbols, unknown_id(), unknown_length);
      unknown_length = 0;
    };
    for_each_code_point(word, [&](char32_t c, size_t at, size_t length) {
      const bool prefixed = at > 0 && !prefix_.empty();
      const bool suffixed = at + length == word.size() && !suffix_.empty();
      uint32_t id = kNone;
      std::string_view token = word.substr(at, length);
      if (!prefixed && !suffixed && c < characters_.size()) {
        id = characters_[c];
      } else {
        if (prefixed || suffixed) {
          text.clear();
          if (prefixed) text += prefix_;
          text += token;
          if (suffixed) text += suffix_;
          token = text;
        }
        id = vocabulary().find(token).value_or(kNone);
      }
      if (id != kNone) {
        flush();
        append(symbols, id, length);
      } else if (!fall_back(token, symbols) && unknown_) {
        if (!fuse_unknown_) flush();
        unknown_length += length;
      }
    });
    flush();
  }

  /// Spells `token` in bytes, if every byte has a token.
  bool fall_back(std::string_view token, std::vector<Symbol>& symbols) const {
    if (!byte_fallback_) return false;
    const auto id = [&](char byte) { return fallbacks_[static_cast<uint8_t>(byte)]; };
    if (std::any_of(token.begin(), token.end(), [&](char byte) { return id(byte) == kNone; })) {
      return false;
    }
    for (char byte : token) append(symbols, id(byte), 1);
    return true;
  }

  uint32_t unknown_id() const {
    if (!unknown_id_) {
      fail(ErrorCode::corrupt, kStage, "Add the unknown token to model.vocab.",
           "expected model.unk_token '{}' in model.vocab for a character that it does not cover, "
           "got none",
           *unknown_);
    }
    return *unknown_id_;
  }

  void merge_short(ModelWorkspace& workspace) const {
    auto& symbols = workspace.symbols;
    auto& pairs = workspace.candidates;  // pairs[i] is of the symbols i and i + 1
    pairs.clear();
    const auto pair_at = [&](size_t i) {
      const Merge merge = merges_.find(symbols[i].id, symbols[i + 1].id);
      return Candidate{merge.rank, 0, merge.id};
    };
    for (size_t i = 0; i + 1 < symbols.size(); ++i) pairs.push_back(pair_at(i));
    while (!pairs.empty()) {
      const auto best =
          std::min_element(pairs.begin(), pairs.end(),
                           [](const Candidate& a, const Candidate& b) { return a.rank < b.rank; });
      if (best->rank == kNone) return;
      const auto i = static_cast<size_t>(best - pairs.begin());
      symbols[i].id = best->merged;
      symbols[i].length += symbols[i + 1].length;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      pairs.erase(best);
      if (i > 0) pairs[i - 1] = pair_at(i - 1);
      if (i + 1 < symbols.size()) pairs[i] = pair_at(i);
    }
  }

  void merge_long(ModelWorkspace& workspace) const {
    auto& symbols = workspace.symbols;
    auto& heap = workspace.candidates;
    heap.clear();
    const auto later = [](const Candidate& a, const Candidate& b) {
      return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
    };
    const auto push = [&](int32_t left, int32_t right) {
      const Merge merge = merges_.find(symbols[static_cast<size_t>(left)].id,
                                       symbols[static_cast<size_t>(right)].id);
      if (merge.rank == kNone) return;
      heap.push_back({merge.rank, static_cast<uint32_t>(left), merge.id});
      std::push_heap(heap.begin(), heap.end(), later);
    };
    for (size_t i = 0; i < symbols.size(); ++i) {
      symbols[i].previous = static_cast<int32_t>(i) - 1;
      symbols[i].next = i + 1 < symbols.size() ? static_cast<int32_t>(i + 1) : -1;
    }
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      push(static_cast<int32_t>(i), static_cast<int32_t>(i + 1));
    }
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), later);
      const Candidate best = heap.back();
      heap.pop_back();
      Symbol& left = symbols[best.position];
      if (left.length == 0 || left.next < 0) continue;
      Symbol& right = symbols[static_cast<size_t>(left.next)];
      // The candidate is out of date when the pair there has changed since.
      if (merges_.find(left.id, right.id).id != best.merged) continue;
      left.id = best.merged;
      left.length += right.length;
      right.length = 0;
      left.next = right.next;
      const auto position = static_cast<int32_t>(best.position);
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = position;
      if (left.previous >= 0) push(left.previous, position);
      if (left.next >= 0) push(position, left.next);
    }
  }

  std::optional<std::string> unknown_;
  std::string prefix_, suffix_;
  bool fuse_unknown_, byte_fallback_, ignore_merges_;
  MergeTable merges_;
  std::optional<uint32_t> unknown_id_;
  std::array<uint32_t, 0x180> characters_{};  // ids of single characters, kNone where none is
  std::array<uint32_t, 256> fallbacks_{};     // ids of <0x00> to <0xFF>
};

}  // namespace

std::unique_ptr<Model> make_bpe(JsonPart& part, Vocabulary vocabulary, const MergeList& merges) {
  return std::make_unique<Bpe>(part, std::move(vocabulary), merges);
}

}  // namespace ostinato::text
