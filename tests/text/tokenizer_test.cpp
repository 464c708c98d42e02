#include <gmock/gmock.h>

#include <thread>

#include "ostinato/error.h"
#include "text/small_tokenizer.h"

namespace ostinato::text {
namespace {

using testing::ElementsAre;
using testing::Pair;

// Expected values of this file from the tokenizers library, on the same tokenizer.json.
TEST(Tokenizer, MergesByRank) {
  const Encoding encoding = byte_level_tokenizer().encode("hello world<|end|>");
  EXPECT_THAT(encoding.pieces, ElementsAre("hello", "Ġw", "o", "r", "l", "d", "<|end|>"));
  EXPECT_THAT(encoding.offsets, ElementsAre(Pair(0, 5), Pair(5, 7), Pair(7, 8), Pair(8, 9),
                                            Pair(9, 10), Pair(10, 11), Pair(11, 18)));
  EXPECT_THAT(encoding.ids.front(), 262);
}

TEST(Tokenizer, OffsetsAreCodePoints) {
  const Encoding encoding = byte_level_tokenizer().encode(
      "\xF0\x9F\x99\x82"
      "a");
  EXPECT_THAT(encoding.offsets,
              ElementsAre(Pair(0, 1), Pair(0, 1), Pair(0, 1), Pair(0, 1), Pair(1, 2)));
}

TEST(Tokenizer, ByteLevelGivesTheTextBack) {
  const Tokenizer tokenizer = byte_level_tokenizer();
  for (const char* text : {"", "hello", " a\n\tb  ", "\xE4\xBD\xA0\xE5\xA5\xBD \xF0\x9F\x99\x82",
                           "<note><|end|> <|end", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text).ids, false), text);
  }
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a\xFF").ids), "a\xEF\xBF\xBD");
}

TEST(Tokenizer, SkipsSpecialTokensOnly) {
  const Tokenizer tokenizer = byte_level_tokenizer();
  const auto ids = tokenizer.encode("a<|end|><note>b").ids;
  EXPECT_EQ(tokenizer.decode(ids, true), "a<note>b");
  EXPECT_EQ(tokenizer.decode(ids, false), "a<|end|><note>b");
}

TEST(Tokenizer, KnowsItsVocabulary) {
  const Tokenizer tokenizer = byte_level_tokenizer();
  EXPECT_EQ(tokenizer.vocab_size(), 266u);
  EXPECT_EQ(tokenizer.token_to_id("hello"), 262);
  EXPECT_EQ(tokenizer.token_to_id("<|end|>"), 264);
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(262), "hello");
  EXPECT_EQ(tokenizer.id_to_token(266), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_token(-1), std::nullopt);
}

TEST(Tokenizer, RefusesUnknownIds) {
  const Tokenizer tokenizer = byte_level_tokenizer();
  for (int64_t id : {int64_t{-1}, int64_t{266}, int64_t{1} << 40}) {
    const std::vector<int64_t> ids{id, 262};
    EXPECT_THROW(tokenizer.decode(ids), Error);
    EXPECT_EQ(tokenizer.decode(ids, true, UnknownIds::skip), "hello");
  }
}

TEST(Tokenizer, LongRunsAreNotQuadratic) {
  const Tokenizer tokenizer = byte_level_tokenizer();
  const std::string text(1 << 20, 'a');
  const Encoding encoding = tokenizer.encode(text);
  EXPECT_EQ(encoding.size(), text.size() / 8);  // minutes when every merge looks at the whole text
  EXPECT_EQ(tokenizer.decode(encoding.ids), text);
}

TEST(Tokenizer, ShortAndLongWordsMergeAlike) {
  const Tokenizer tokenizer = byte_level_tokenizer();
  // 3 to 60 letters: from the scan to the queue. The greedy result for runs of one letter is known.
  for (size_t length = 3; length < 60; ++length) {
    std::vector<size_t> lengths;
    for (const auto& piece : tokenizer.encode(std::string(length, 'a')).pieces) {
      lengths.push_back(piece.size());
    }
    std::vector<size_t> expected(length / 8, 8);
    for (size_t part : {4, 2, 1}) {
      if (length & part) expected.push_back(part);
    }
    EXPECT_EQ(lengths, expected) << length;
  }
}

TEST(Tokenizer, IsSharedByThreads) {
  const Tokenizer tokenizer = byte_level_tokenizer();
  const std::string text = "hello world <note> \xF0\x9F\x99\x82 aaaaaaaaaaaaaaaaa";
  const auto expected = tokenizer.encode(text).ids;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        ASSERT_EQ(tokenizer.encode(text).ids, expected);
        ASSERT_EQ(tokenizer.decode(expected, false), text);
      }
    });
  }
  for (auto& thread : threads) thread.join();
}

TEST(WordPiece, LongestMatchFirst) {
  const Tokenizer tokenizer = Tokenizer::from_json(bert_json().dump());
  const Encoding encoding = tokenizer.encode("Unaffable,caf\xC3\xA9 xyz unaffableaff");
  EXPECT_THAT(encoding.pieces, ElementsAre("[CLS]", "un", "##aff", "##able", ",", "cafe", "[UNK]",
                                           "[UNK]", "[SEP]"));
  EXPECT_THAT(encoding.special_tokens_mask, ElementsAre(1, 0, 0, 0, 0, 0, 0, 0, 1));
  EXPECT_EQ(encoding.offsets[5], std::make_pair(size_t{10}, size_t{14}));
  EXPECT_EQ(tokenizer.decode(encoding.ids, false), "[CLS] unaffable, cafe [UNK] [UNK] [SEP]");
}

TEST(WordPiece, EncodesPairs) {
  const Tokenizer tokenizer = Tokenizer::from_json(bert_json().dump());
  const Encoding encoding = tokenizer.encode_pair("un", "cafe ,");
  EXPECT_THAT(encoding.ids, ElementsAre(2, 4, 3, 8, 7, 3));
  EXPECT_THAT(encoding.type_ids, ElementsAre(0, 0, 0, 1, 1, 1));
}

TEST(Tokenizer, OptionsOverrideTheFile) {
  auto json = bert_json();
  json["truncation"] = {
      {"max_length", 4}, {"strategy", "LongestFirst"}, {"stride", 0}, {"direction", "Right"}};
  json["padding"] = {{"strategy", {{"Fixed", 6}}},
                     {"direction", "Right"},
                     {"pad_to_multiple_of", nullptr},
                     {"pad_id", 0},
                     {"pad_type_id", 0},
                     {"pad_token", "[PAD]"}};
  const Tokenizer tokenizer = Tokenizer::from_json(json.dump());
  EXPECT_THAT(tokenizer.encode("un cafe , un").ids, ElementsAre(2, 4, 8, 3, 0, 0));
  EXPECT_THAT(tokenizer.encode("un cafe , un").attention_mask, ElementsAre(1, 1, 1, 1, 0, 0));
  EncodeOptions options;
  options.pad = options.truncate = options.add_special_tokens = false;
  EXPECT_THAT(tokenizer.encode("un cafe , un", options).ids, ElementsAre(4, 8, 7, 4));
}

}  // namespace
}  // namespace ostinato::text
