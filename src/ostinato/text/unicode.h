#pragma once

#include <cstddef>
#include <vector>

namespace ostinato::text {

/// Character classes as the `tokenizers` library draws them, which is what vocabularies were made
/// with. utf8proc knows more of Unicode than the tables that `tokenizers` uses for some of them;
/// where that changes ids, `unicode.cpp` follows `tokenizers`. Of code points that Unicode assigned
/// after utf8proc's version, 15, nothing is known.

bool is_white_space(char32_t c);        ///< Rust's char::is_whitespace: the property White_Space
bool is_numeric(char32_t c);            ///< Rust's char::is_numeric: Nd, Nl, No
bool is_punctuation(char32_t c);        ///< ASCII punctuation and symbols, and P*
bool is_nonspacing_mark(char32_t c);    ///< Mn
bool is_combining_mark(char32_t c);     ///< M*
bool is_control_or_format(char32_t c);  ///< Cc, Cf, Co, as BERT's text cleaning has it
bool is_cjk_ideograph(char32_t c);      ///< the blocks that BERT puts spaces around
bool is_word(char32_t c);               ///< \w of UTS 18: Alphabetic, M, Nd, Pc, Join_Control

/// Lower case without regard to context; U+0130 alone becomes two code points.
/// @return how many of `out` were written
size_t to_lower(char32_t c, char32_t out[2]);

enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// One code point of a normalised text, and what it stands for in the text before.
struct NormalizedCodePoint {
  char32_t code_point;
  /// How many old code points it replaces; 0 when it is an addition to the one before.
  unsigned replaces;
};

/// Whether code points of this kind alone are left alone by `form`, whatever stands beside them.
bool is_stable(char32_t c, NormalForm form);

/// Unicode normalisation (UAX 15) that keeps account of where every code point came from.
std::vector<NormalizedCodePoint> normalize(const std::vector<char32_t>& text, NormalForm form);

}  // namespace ostinato::text
