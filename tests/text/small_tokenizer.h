#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "ostinato/text/byte_alphabet.h"
#include "ostinato/text/tokenizer.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

/// A `tokenizer.json` of byte-level BPE: every byte, a few merges, two added tokens.
inline nlohmann::json byte_level_json() {
  nlohmann::json vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, kByteAlphabet.character(static_cast<uint8_t>(byte)));
    vocabulary[character] = byte;
  }
  const std::vector<std::pair<std::string, std::string>> merges = {
      {"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}, {"h", "e"},
      {"l", "l"}, {"he", "ll"}, {"hell", "o"},    {"Ġ", "w"}};
  for (const auto& [left, right] : merges) vocabulary[left + right] = vocabulary.size();
  const auto added = [&](const std::string& content, bool special) {
    return nlohmann::json{{"id", vocabulary.size() + (special ? 0 : 1)},
                          {"content", content},
                          {"single_word", false},
                          {"lstrip", false},
                          {"rstrip", false},
                          {"normalized", false},
                          {"special", special}};
  };
  const nlohmann::json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}};
  return {{"version", "1.0"},
          {"added_tokens", {added("<|end|>", true), added("<note>", false)}},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level},
          {"post_processor", nullptr},
          {"decoder", byte_level},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}}};
}

inline Tokenizer byte_level_tokenizer() { return Tokenizer::from_json(byte_level_json().dump()); }

/// A `tokenizer.json` of BERT's kind.
inline nlohmann::json bert_json() {
  const nlohmann::json special = {
      {"[CLS]", {{"id", "[CLS]"}, {"ids", {2}}, {"tokens", {"[CLS]"}}}},
      {"[SEP]", {{"id", "[SEP]"}, {"ids", {3}}, {"tokens", {"[SEP]"}}}}};
  const auto token = [](const std::string& id, int type) {
    return nlohmann::json{{"SpecialToken", {{"id", id}, {"type_id", type}}}};
  };
  const auto text = [](const std::string& id, int type) {
    return nlohmann::json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", nlohmann::json::array()},
          {"normalizer",
           {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", true},
            {"strip_accents", nullptr},
            {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", {token("[CLS]", 0), text("A", 0), token("[SEP]", 0)}},
            {"pair",
             {token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1)}},
            {"special_tokens", special}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 10},
            {"vocab",
             {{"[PAD]", 0},
              {"[UNK]", 1},
              {"[CLS]", 2},
              {"[SEP]", 3},
              {"un", 4},
              {"##aff", 5},
              {"##able", 6},
              {",", 7},
              {"cafe", 8}}}}}};
}

}  // namespace ostinato::text
