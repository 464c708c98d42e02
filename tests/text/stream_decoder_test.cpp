#include "ostinato/text/stream_decoder.h"

#include <gmock/gmock.h>

#include "ostinato/error.h"
#include "text/small_tokenizer.h"

namespace ostinato::text {
namespace {

using testing::ElementsAre;

std::vector<std::string> stream(const Tokenizer& tokenizer, const std::vector<int64_t>& ids,
                                bool skip_special_tokens = true) {
  StreamDecoder decoder(tokenizer, skip_special_tokens);
  std::vector<std::string> out;
  for (int64_t id : ids) out.push_back(decoder.push(id));
  out.push_back(decoder.finish());
  return out;
}

TEST(StreamDecoder, HoldsBackIncompleteCodePoints) {
  const std::vector<int64_t> ids{'a', 0xF0, 0x9F, 0x99, 0x82, 'b'};  // ids of single bytes
  EXPECT_THAT(stream(byte_level_tokenizer(), ids),
              ElementsAre("a", "", "", "", "\xF0\x9F\x99\x82", "b", ""));
}

TEST(StreamDecoder, GivesUpOnWhatCannotBecomeACodePoint) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_THAT(stream(byte_level_tokenizer(), {0xE4, 'a', 0xFF, 0xE4, 0xBD}),
              ElementsAre("", r + "a", r, "", "", r));
}

TEST(StreamDecoder, SkipsSpecialTokensIfAsked) {
  const Tokenizer tokenizer = byte_level_tokenizer();
  const auto ids = tokenizer.encode("a<|end|>").ids;
  EXPECT_THAT(stream(tokenizer, ids, true), ElementsAre("a", "", ""));
  EXPECT_THAT(stream(tokenizer, ids, false), ElementsAre("a", "<|end|>", ""));
}

TEST(StreamDecoder, RefusesOrSkipsUnknownIds) {
  StreamDecoder strict(byte_level_tokenizer());
  EXPECT_THROW(strict.push(100'000), Error);
  StreamDecoder lenient(byte_level_tokenizer(), true, UnknownIds::skip);
  EXPECT_EQ(lenient.push(100'000), "");
  EXPECT_EQ(lenient.push('a'), "a");
}

TEST(StreamDecoder, LooksAtNeighboursWhereTheDecoderDoes) {
  const Tokenizer tokenizer = Tokenizer::from_json(bert_json().dump());
  EXPECT_THAT(stream(tokenizer, {4, 5, 6, 7, 8}),
              ElementsAre("un", "aff", "able", ",", " cafe", ""));
}

TEST(StreamDecoder, BeginsAnewAfterTheEnd) {
  const Tokenizer tokenizer = Tokenizer::from_json(bert_json().dump());
  StreamDecoder decoder(tokenizer);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(decoder.push(8), "cafe");
    EXPECT_EQ(decoder.push(8), " cafe");
    EXPECT_EQ(decoder.finish(), "");
  }
}

}  // namespace
}  // namespace ostinato::text
