#include <array>
#include <utility>

#include "ostinato/base/error.h"
#include "ostinato/text/regex.h"
#include "ostinato/text/utf8.h"

namespace ostinato::text {

namespace {

// Insides of a bracket expression. PCRE2's own \s, \w and \b know other characters.
constexpr std::string_view kWordSet = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
// Outside of brackets Oniguruma takes Latin-1's superscripts and fractions for word characters too.
constexpr std::string_view kLooseWordSet =
    "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xB2\\xB3\\xB9\\xBC-\\xBE";
constexpr std::string_view kHexSet = "0-9A-Fa-f";

/// POSIX brackets that mean one Unicode property.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kPosixBrackets{{
    {"alpha", "\\p{Alphabetic}"},
    {"digit", "\\p{Nd}"},
    {"lower", "\\p{Lowercase}"},
    {"space", "\\p{White_Space}"},
    {"upper", "\\p{Uppercase}"},
    {"word", kWordSet},
}};

/// Properties that are no scripts; general categories (one or two letters) are not listed.
constexpr std::array<std::string_view, 9> kBinaryProperties{
    "Any",   "Alphabetic", "Alpha",       "Lowercase",  "Lower",
    "Upper", "Uppercase",  "Ideographic", "White_Space"};

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view part) : in_(pattern), part_(part) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        bracket();
      } else if (c == '(') {
        group();
      } else if (c == '{') {
        interval();
      } else {
        out_ += c;
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::unsupported, part_,
         "Rewrite the pattern without it, in the syntax that Oniguruma and PCRE2 share.",
         "expected a pattern that PCRE2 can run, got {} at byte {} of '{}'", what, at_, in_);
  }

  bool next_is(std::string_view text) const { return in_.substr(at_, text.size()) == text; }

  void emit_set(std::string_view set, bool negated, bool in_bracket) {
    if (!in_bracket) {
      out_ += negated ? "[^" : "[";
      out_ += set;
      out_ += ']';
    } else if (negated) {
      refuse("a negated class within brackets");
    } else {
      out_ += set;
    }
  }

  /// A backslash and what follows it.
  void escape(bool in_bracket) {
    if (at_ + 1 >= in_.size()) refuse("a backslash at the end");
    const char c = in_[at_ + 1];
    const bool ascii_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == 'p' || c == 'P') return property();
    if (c == 'x' || c == 'u') return hexadecimal(c == 'u' ? 4 : 2);
    switch (c) {
      case 's': out_ += "\\p{White_Space}"; break;
      case 'S': out_ += "\\P{White_Space}"; break;
      case 'd': out_ += "\\p{Nd}"; break;
      case 'D': out_ += "\\P{Nd}"; break;
      case 'w': emit_set(in_bracket ? kWordSet : kLooseWordSet, false, in_bracket); break;
      case 'W': emit_set(in_bracket ? kWordSet : kLooseWordSet, true, in_bracket); break;
      case 'h': emit_set(kHexSet, false, in_bracket); break;
      case 'H': emit_set(kHexSet, true, in_bracket); break;
      case 'v': out_ += "\\x0b"; break;
      case 't':
      case 'n':
      case 'r':
      case 'f':
      case 'a':
      case 'e':
        out_ += '\\';
        out_ += c;
        break;
      case 'b':
      case 'B': word_boundary(c == 'B', in_bracket); break;
      case 'A':
      case 'z':
      case 'Z':
        if (in_bracket) refuse("an anchor within brackets");
        out_ += '\\';
        out_ += c;
        break;
      default:
        if (ascii_letter) refuse(fmt::format("'\\{}'", c));
        if (c >= '0' && c <= '9') refuse("an octal escape or a back reference");
        if (static_cast<uint8_t>(c) < 0x80) out_ += '\\';  // other characters need no backslash
        out_ += c;
    }
    at_ += 2;
  }

  void word_boundary(bool negated, bool in_bracket) {
    if (in_bracket) refuse("'\\b' within brackets");
    const std::string word = fmt::format("[{}]", kLooseWordSet);
    out_ += negated ? fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word)
                    : fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word);
  }

  /// \p{...}. A bare script name means Script to Oniguruma and Script_Extensions to PCRE2.
  void property() {
    const size_t close = in_.find('}', at_);
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{' || close == std::string_view::npos) {
      refuse("'\\p' without a name in braces");
    }
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    out_ += in_.substr(at_, 3);
    if (!name.empty() && name[0] == '^') {
      out_ += '^';
      name.remove_prefix(1);
    }
    bool binary = name.size() <= 2;
    for (std::string_view known : kBinaryProperties) binary = binary || name == known;
    if (!binary) out_ += "sc:";
    out_ += name;
    out_ += '}';
    at_ = close + 1;
  }

  /// \xHH, \x{H...} and \uHHHH.
  void hexadecimal(size_t digits) {
    const auto is_hex = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    };
    const bool braced = digits == 2 && at_ + 2 < in_.size() && in_[at_ + 2] == '{';
    const size_t begin = at_ + (braced ? 3 : 2);
    size_t end = begin;
    while (end < in_.size() && is_hex(in_[end]) && (braced || end - begin < digits)) ++end;
    const bool closed = !braced || (end < in_.size() && in_[end] == '}');
    if (end == begin || end - begin > 6 || !closed || (digits == 4 && end - begin != 4)) {
      refuse("a malformed hexadecimal escape");
    }
    const unsigned long value =
        std::stoul(std::string(in_.substr(begin, end - begin)), nullptr, 16);
    // Oniguruma takes \x80 to \xFF for bytes of UTF-8, not for code points.
    if (digits == 2 && !braced && value > 0x7F) refuse("a byte escape above \\x7F");
    out_ += fmt::format("\\x{{{:x}}}", value);
    at_ = end + (braced ? 1 : 0);
  }

  void bracket() {
    out_ += '[';
    ++at_;
    if (next_is("^")) {
      out_ += '^';
      ++at_;
    }
    if (next_is("]")) refuse("an empty bracket expression");
    while (at_ < in_.size() && in_[at_] != ']') {
      if (in_[at_] == '\\') {
        escape(true);
      } else if (next_is("[:")) {
        posix_bracket();
      } else if (in_[at_] == '[') {
        refuse("brackets within brackets");
      } else if (next_is("&&")) {
        refuse("an intersection of classes");
      } else {
        out_ += in_[at_++];
      }
    }
    if (at_ == in_.size()) refuse("an unclosed bracket");
    out_ += ']';
    ++at_;
  }

  void posix_bracket() {
    for (const auto& [name, set] : kPosixBrackets) {
      const std::string bracket = fmt::format("[:{}:]", name);
      if (next_is(bracket)) {
        out_ += set;
        at_ += bracket.size();
        return;
      }
    }
    refuse("an unknown POSIX bracket");
  }

  void group() {
    // (?i) within a pattern reaches differently far in the two syntaxes; at the start it is the
    // same.
    for (std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"}) {
      if (next_is(known)) return copy(known.size());
    }
    if (at_ == 0 && next_is("(?i)")) return copy(4);
    if (next_is("(?") || next_is("(*")) refuse("a group of an unknown kind");
    copy(1);
  }

  /// {n,m}, of which Oniguruma alone lets the lower bound be absent.
  void interval() {
    if (next_is("{,") && at_ + 2 < in_.size() && in_[at_ + 2] >= '0' && in_[at_ + 2] <= '9') {
      out_ += "{0,";
      at_ += 2;
      return;
    }
    const size_t close = in_.find('}', at_);
    if (close != std::string_view::npos && in_.substr(close + 1, 1) == "+") {
      refuse("a plus after an interval");
    }
    copy(1);
  }

  void copy(size_t bytes) {
    out_ += in_.substr(at_, bytes);
    at_ += bytes;
  }

  std::string_view in_, part_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string translate_oniguruma(std::string_view pattern, std::string_view part) {
  return Translator(pattern, part).run();
}

}  // namespace ostinato::text
