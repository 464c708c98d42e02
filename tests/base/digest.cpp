#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "ostinato/base/digest_pieces.h"

namespace ostinato {
namespace {

std::vector<uint8_t> counted(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 251);
  return bytes;
}

TEST(Digest, IsAnotherForEveryFlippedBit) {
  for (const size_t size : {1, 8, 63, 64, 65, 200}) {
    std::vector<uint8_t> bytes = counted(size);
    std::set<std::string> seen{digest(bytes).str()};
    for (size_t bit = 0; bit < 8 * size; ++bit) {
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      seen.insert(digest(bytes).str());
      bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    }
    EXPECT_EQ(seen.size(), 8 * size + 1) << size;
  }
}

TEST(Digest, CountsZerosAndTheirPlaces) {
  const std::vector<uint8_t> zeros(300);
  std::set<std::string> seen;
  for (size_t size = 0; size <= zeros.size(); ++size) {
    seen.insert(digest({zeros.data(), size}).str());
  }
  EXPECT_EQ(seen.size(), zeros.size() + 1);
  // Upper bits of words that one lane takes in turn, and blocks in another order.
  std::vector<uint8_t> flipped(256), moved(256);
  flipped[7] = flipped[64 + 7] = 0x80;
  moved[64] = 1;
  EXPECT_TRUE(seen.insert(digest(flipped).str()).second);
  EXPECT_TRUE(seen.insert(digest(moved).str()).second);
}

TEST(Digest, OfLargeStringsDependsOnEveryPieceButNotOnThreads) {
  std::vector<uint8_t> bytes = counted((size_t{3} << 20) + 5);
  const Digest whole = digest(bytes, 1);
  for (const int threads : {0, 2, 3, 64}) EXPECT_EQ(digest(bytes, threads), whole);
  for (const size_t at : {size_t{0}, size_t{1} << 20, (size_t{2} << 20) - 1, bytes.size() - 1}) {
    bytes[at] ^= 1;
    EXPECT_NE(digest(bytes, 2), whole) << at;
    bytes[at] ^= 1;
  }
}

// Files on disk are named and checked by it: what changes it must raise their version.
TEST(Digest, StaysTheSame) {
  EXPECT_EQ(digest(counted(1000)).str(), "8dbb838c3e65c772232db4ea16779fc5");
}

TEST(Digest, JoinsThoseOfItsPieces) {
  for (const size_t size : {size_t{0}, size_t{5}, kDigestPiece, 2 * kDigestPiece + 3}) {
    const std::vector<uint8_t> bytes = counted(size);
    std::vector<Digest> pieces;
    for (size_t at = 0; at < size; at += kDigestPiece) {
      pieces.push_back(digest_piece({bytes.data() + at, std::min(kDigestPiece, size - at)}));
    }
    EXPECT_EQ(join_digests(pieces), digest(bytes, 2)) << size;
  }
}

}  // namespace
}  // namespace ostinato
