#include "ostinato/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <optional>

#include "ostinato/text/unicode_versions.h"

namespace ostinato::text {

namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_in(utf8proc_category_t value, utf8proc_category_t first, utf8proc_category_t last) {
  return value >= first && value <= last;  // utf8proc groups categories by their first letter
}

template <size_t kCount>
bool is_in(char32_t c, const std::array<CodePointRange, kCount>& ranges) {
  const auto range = std::lower_bound(
      ranges.begin(), ranges.end(), c,
      [](const CodePointRange& candidate, char32_t value) { return candidate.last < value; });
  return range != ranges.end() && range->first <= c;
}

int combining_class(char32_t c) {
  if (is_in(c, kLaterMarks)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

/// The code point that `first` and `second` compose to, if any.
std::optional<char32_t> compose(char32_t first, char32_t second) {
  std::array<utf8proc_int32_t, 2> pair{static_cast<utf8proc_int32_t>(first),
                                       static_cast<utf8proc_int32_t>(second)};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  if (utf8proc_normalize_utf32(pair.data(), 2, options) != 1) return std::nullopt;
  const auto composed = static_cast<char32_t>(pair[0]);
  if (is_in(composed, kLaterDecompositions)) return std::nullopt;
  return composed;
}

struct Decomposed {
  NormalizedCodePoint value;
  int combining_class;
};

std::vector<Decomposed> decompose(const std::vector<char32_t>& text, bool compatibility) {
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0));
  std::vector<Decomposed> out;
  out.reserve(text.size());
  std::array<utf8proc_int32_t, 32> parts;  // the longest decomposition, U+FDFA's, has 18
  for (char32_t c : text) {
    if (c < 0x80 || is_in(c, kLaterDecompositions)) {
      out.push_back({{c, 1}, 0});
      continue;
    }
    int boundary_class = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(),
                                               parts.size(), options, &boundary_class);
    for (utf8proc_ssize_t i = 0; i < count; ++i) {
      const auto part = static_cast<char32_t>(parts[static_cast<size_t>(i)]);
      out.push_back({{part, i == 0 ? 1u : 0u}, combining_class(part)});
    }
  }
  // Canonical order: runs of marks sorted by class, equals in the order of the text.
  for (size_t at = 0; at < out.size();) {
    size_t end = at + 1;
    if (out[at].combining_class != 0) {
      while (end < out.size() && out[end].combining_class != 0) ++end;
      std::stable_sort(out.begin() + static_cast<std::ptrdiff_t>(at),
                       out.begin() + static_cast<std::ptrdiff_t>(end),
                       [](const Decomposed& a, const Decomposed& b) {
                         return a.combining_class < b.combining_class;
                       });
    }
    at = end;
  }
  return out;
}

}  // namespace

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(char32_t c) {
  return is_in(category(c), UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NO);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
           (c >= 0x7B && c <= 0x7E);
  }
  if (c == 0x166D || c == 0x111C9) return true;  // punctuation in Unicode 8, no longer since
  return is_in(category(c), UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PO) &&
         !is_in(c, kLaterPunctuation);
}

bool is_nonspacing_mark(char32_t c) {
  if (c == 0x1734) return true;  // likewise
  return category(c) == UTF8PROC_CATEGORY_MN && !is_in(c, kLaterNonspacingMarks);
}

bool is_combining_mark(char32_t c) {
  if (c == 0x1CF2 || c == 0x1CF3) return true;  // likewise
  return is_in(category(c), UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_ME) && !is_in(c, kLaterMarks);
}

bool is_control_or_format(char32_t c) {
  const utf8proc_category_t value = category(c);
  if (value == UTF8PROC_CATEGORY_CF) return !is_in(c, kLaterControls);
  return value == UTF8PROC_CATEGORY_CC || value == UTF8PROC_CATEGORY_CO;
}

bool is_cjk_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_word(char32_t c) {
  if (c < 0x80) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }
  if (c == 0x200C || c == 0x200D) return true;  // Join_Control
  const utf8proc_category_t value = category(c);
  if (is_in(value, UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_ME)) return true;
  if (is_in(value, UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NL)) return true;
  // Alphabetic beyond letters, marks and letter numbers: circled and squared letters.
  return value == UTF8PROC_CATEGORY_PC || (c >= 0x24B6 && c <= 0x24E9) ||
         (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

size_t to_lower(char32_t c, char32_t out[2]) {
  if (c == 0x130) {
    out[0] = U'i';
    out[1] = 0x307;
    return 2;
  }
  out[0] = static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
  return 1;
}

bool is_stable(char32_t c, NormalForm form) {
  if (c < 0x80) return true;
  if (c >= 0x4E00 && c <= 0x9FFF) return true;  // CJK unified ideographs
  if (form != NormalForm::nfc) return false;
  return c < 0x300 ||                     // Latin without combining marks
         (c >= 0x400 && c <= 0x482) ||    // Cyrillic likewise
         (c >= 0x2010 && c <= 0x2027) ||  // dashes, quotation marks
         (c >= 0x3001 && c <= 0x3029) ||  // CJK punctuation
         (c >= 0xAC00 && c <= 0xD7A3) ||  // Hangul syllables
         (c >= 0xFF01 && c <= 0xFF60) ||  // full width forms
         (c >= 0x1F300 && c <= 0x1FAFF);  // pictographs
}

std::vector<NormalizedCodePoint> normalize(const std::vector<char32_t>& text, NormalForm form) {
  const bool compatibility = form == NormalForm::nfkc || form == NormalForm::nfkd;
  const std::vector<Decomposed> decomposed = decompose(text, compatibility);
  std::vector<NormalizedCodePoint> out;
  out.reserve(decomposed.size());
  if (form == NormalForm::nfd || form == NormalForm::nfkd) {
    for (const Decomposed& part : decomposed) out.push_back(part.value);
    return out;
  }
  std::optional<size_t> starter;  // where in `out` the last starter is
  int last_class = 0;             // of what was written after it; 0 while nothing was
  for (const Decomposed& part : decomposed) {
    if (starter && (last_class == 0 || last_class < part.combining_class)) {
      if (const auto composed = compose(out[*starter].code_point, part.value.code_point)) {
        out[*starter].code_point = *composed;
        out[*starter].replaces += part.value.replaces;
        continue;
      }
    }
    if (part.combining_class == 0) {
      starter = out.size();
      last_class = 0;
    } else {
      last_class = part.combining_class;
    }
    out.push_back(part.value);
  }
  return out;
}

}  // namespace ostinato::text
