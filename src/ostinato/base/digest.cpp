#include "ostinato/base/digest.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "ostinato/base/digest_pieces.h"
#include "ostinato/base/threads.h"

namespace ostinato {

namespace {

// Odd, with bits in no order: 2^64 divided by the golden ratio, and by the square root of two.
constexpr uint64_t kOdd = 0x9e3779b97f4a7c15, kOtherOdd = 0xb504f333f9de6485;

/// Sums that depend on each other only within a lane, so that a core works on all lanes at once.
using Lanes = std::array<uint64_t, 8>;
constexpr size_t kBlock = sizeof(Lanes);
constexpr auto kAll = std::make_index_sequence<std::tuple_size_v<Lanes>>();

// The step of XXH64 (github.com/Cyan4973/xxHash). It can be undone, so that a change of one word
// always changes its lane, and what would cancel it later is no small change. Spelled out lane by
// lane: a loop would keep them in memory.
template <size_t... I>
inline void absorb(Lanes& lanes, const uint8_t* block, std::index_sequence<I...>) {
  const auto word = [block](size_t i) {
    uint64_t bits;
    std::memcpy(&bits, block + i * sizeof(bits), sizeof(bits));
    return bits;
  };
  ((lanes[I] = std::rotl(lanes[I] + word(I) * kOtherOdd, 31) * kOdd), ...);
}

uint64_t mix(uint64_t bits) {
  bits = (bits ^ (bits >> 32)) * kOdd;
  bits = (bits ^ (bits >> 29)) * kOdd;
  return bits ^ (bits >> 32);
}

}  // namespace

Digest digest_piece(std::span<const uint8_t> bytes) {
  Lanes lanes;
  for (size_t i = 0; i < lanes.size(); ++i) lanes[i] = (i + 1) * kOdd;
  const size_t whole = bytes.size() / kBlock * kBlock;
  for (size_t at = 0; at < whole; at += kBlock) absorb(lanes, bytes.data() + at, kAll);
  std::array<uint8_t, kBlock> last{};
  std::copy(bytes.begin() + static_cast<std::ptrdiff_t>(whole), bytes.end(), last.begin());
  absorb(lanes, last.data(), kAll);
  Digest result{bytes.size(), bytes.size()};
  for (size_t i = 0; i < lanes.size(); ++i) {
    result.high = mix(result.high ^ lanes[i]);
    result.low = mix(result.low + lanes[lanes.size() - 1 - i]);
  }
  return result;
}

Digest join_digests(std::span<const Digest> pieces) {
  return digest_piece(
      {reinterpret_cast<const uint8_t*>(pieces.data()), pieces.size() * sizeof(Digest)});
}

std::string Digest::str() const { return fmt::format("{:016x}{:016x}", high, low); }

Digest digest(std::span<const uint8_t> bytes, int threads) {
  std::vector<Digest> pieces((bytes.size() + kDigestPiece - 1) / kDigestPiece);
  ThreadTeam team(std::clamp<int>(static_cast<int>(pieces.size()), 1, std::max(threads, 1)));
  team.run([&](Worker worker) {
    const Range range = part_of(static_cast<int64_t>(pieces.size()), worker);
    for (auto i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
      pieces[i] = digest_piece(
          bytes.subspan(i * kDigestPiece, std::min(kDigestPiece, bytes.size() - i * kDigestPiece)));
    }
  });
  return join_digests(pieces);
}

}  // namespace ostinato
