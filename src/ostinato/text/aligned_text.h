#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ostinato/text/utf8.h"

namespace ostinato::text {

/// Bytes [begin, end).
struct ByteRange {
  uint32_t begin = 0, end = 0;
};

/// A stretch of an AlignedText: at first the whole text, later a word.
struct Piece {
  uint32_t begin = 0, end = 0;  ///< bytes of the text as it now is
  uint32_t origin = 0;          ///< where in the original the piece starts
  int64_t token = -1;           ///< the id when the piece is an added token, and so is finished
};

/// Where a splitter cuts a piece, in bytes of the piece.
struct Cut {
  size_t begin, end;
  int64_t token = -1;
};

class PieceWriter;

/// A text on its way from what the user wrote to the words that the model tokenizes. Every byte
/// knows the bytes of the original that it stems from, however often the text was rewritten; and
/// the text is cut into ever smaller pieces. All pieces share one buffer.
class AlignedText {
 public:
  /// `original` is valid UTF-8, outlives this, and is at most kMaxBytes long.
  explicit AlignedText(std::string_view original);
  AlignedText(const AlignedText&) = delete;
  AlignedText& operator=(const AlignedText&) = delete;

  static constexpr size_t kMaxBytes = size_t{1} << 26;
  /// Rewriting can multiply the length, but by no more than this: U+FDFA, the longest
  /// decomposition there is, becomes 11 times as long and in byte characters 22 times. What grows
  /// further comes from a hostile file.
  static constexpr size_t kMaxGrowth = 32;

  std::string_view original() const { return original_; }
  const std::vector<Piece>& pieces() const { return pieces_; }
  std::string_view text(const Piece& piece) const {
    return text_.substr(piece.begin, piece.end - piece.begin);
  }

  /// The bytes of the original that byte `at` of the text stems from.
  ByteRange alignment(size_t at) const;

  /// Replaces every unfinished piece by the cuts that `splitter(text, cuts)` makes of it; empty
  /// cuts vanish.
  template <typename Splitter>
  void split(Splitter splitter);

  /// Lets `write(piece_text, writer, piece)` write every unfinished piece anew.
  template <typename Write>
  void rewrite(Write write);

 private:
  friend class PieceWriter;

  std::string_view original_;
  std::string buffer_;                 // owns text_ once it was rewritten
  std::string_view text_;              // original_ or buffer_
  bool identical_ = true;              // text_ is still original_, and alignments_ is empty
  std::vector<ByteRange> alignments_;  // of each byte of text_
  std::vector<Piece> pieces_;
};

/// Writes the new text of one piece. It reads the old code points one after the other; what it
/// writes inherits the alignment of what it has read.
class PieceWriter {
 public:
  PieceWriter(const AlignedText& from, const Piece& piece, std::string& text,
              std::vector<ByteRange>& alignments)
      : from_(from),
        piece_(piece),
        at_(piece.begin),
        limit_(from.original_.size() * AlignedText::kMaxGrowth + 65536),
        text_(text),
        alignments_(alignments) {}

  /// Writes `c` for the next old code point.
  void put(char32_t c) {
    write(c, from_.alignment(at_));
    drop();
  }
  /// Writes `c` in addition; it belongs to the old code point before.
  void insert(char32_t c) {
    write(c,
          at_ == piece_.begin ? ByteRange{piece_.origin, piece_.origin} : from_.alignment(at_ - 1));
  }
  /// Passes over the next old code point.
  void drop() { at_ += static_cast<uint32_t>(utf8_length(from_.text_[at_])); }
  /// Copies the next `bytes` bytes, which are whole code points.
  void copy(size_t bytes) {
    text_.append(from_.text_.substr(at_, bytes));
    for (const size_t end = at_ + bytes; at_ < end; ++at_) {
      alignments_.push_back(from_.alignment(at_));
    }
  }

 private:
  void write(char32_t c, ByteRange alignment) {
    const size_t before = text_.size();
    if (before > limit_) refuse_length();
    append_utf8(text_, c);
    alignments_.insert(alignments_.end(), text_.size() - before, alignment);
  }

  [[noreturn]] void refuse_length() const;

  const AlignedText& from_;
  const Piece piece_;
  uint32_t at_;
  const size_t limit_;  // of the whole text, in bytes
  std::string& text_;
  std::vector<ByteRange>& alignments_;
};

template <typename Splitter>
void AlignedText::split(Splitter splitter) {
  std::vector<Piece> pieces;
  pieces.reserve(pieces_.size());
  std::vector<Cut> cuts;
  for (const Piece& piece : pieces_) {
    if (piece.token >= 0) {
      pieces.push_back(piece);
      continue;
    }
    cuts.clear();
    splitter(text(piece), cuts);
    for (const Cut& cut : cuts) {
      if (cut.begin >= cut.end) continue;
      const auto begin = static_cast<uint32_t>(piece.begin + cut.begin);
      pieces.push_back(
          {begin, static_cast<uint32_t>(piece.begin + cut.end), alignment(begin).begin, cut.token});
    }
  }
  pieces_ = std::move(pieces);
}

template <typename Write>
void AlignedText::rewrite(Write write) {
  std::string text;
  std::vector<ByteRange> alignments;
  text.reserve(text_.size());
  alignments.reserve(text_.size());
  for (Piece& piece : pieces_) {
    PieceWriter writer(*this, piece, text, alignments);
    const auto begin = static_cast<uint32_t>(text.size());
    if (piece.token >= 0) {
      writer.copy(piece.end - piece.begin);
    } else {
      write(this->text(piece), writer, piece);
    }
    piece.begin = begin;
    piece.end = static_cast<uint32_t>(text.size());
  }
  buffer_ = std::move(text);
  text_ = buffer_;
  alignments_ = std::move(alignments);
  identical_ = false;
}

}  // namespace ostinato::text
