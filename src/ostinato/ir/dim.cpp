#include "ostinato/ir/dim.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

#include "ostinato/base/error.h"

namespace ostinato::ir {

// A symbol, or one of the operations that a polynomial cannot express.
struct Dim::Atom {
  std::string text;  // the symbol's name, or the whole call: also the sort key
  char op = 0;       // 0 for a symbol, otherwise '/', '%', '>' (max) or '<' (min)
  std::vector<Dim> arguments;
};

struct Dim::Term {
  int64_t coefficient;
  std::vector<Atom> factors;  // sorted by text

  std::string key() const {
    std::string text;
    for (const Atom& atom : factors) text += (text.empty() ? "" : "*") + atom.text;
    return text;
  }
};

namespace {

constexpr std::string_view kStage = "ir/dim";
constexpr size_t kMaxTerms = 128;    // hostile text must not multiply sums without end,
constexpr size_t kMaxLength = 4096;  // nor nest calls whose text doubles at each level

[[noreturn]] void reject_size() {
  fail(ErrorCode::invalid_argument, kStage, "Simplify the sizes.",
       "expected at most {} terms and {} characters in a size, got more", kMaxTerms, kMaxLength);
}

bool is_symbol_name(std::string_view name) {
  constexpr std::array<std::string_view, 5> kWords = {"None", "true", "false", "inf", "nan"};
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) return false;
  if (std::find(kWords.begin(), kWords.end(), name) != kWords.end()) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  });
}

bool is_any_integer(std::string_view symbol) { return symbol[0] == '_'; }

int64_t checked(bool overflow, int64_t value) {
  if (overflow) {
    fail(ErrorCode::invalid_argument, kStage, "Use smaller sizes.",
         "expected sizes that fit in 64 bits, got a larger product or sum");
  }
  return value;
}

int64_t add(int64_t a, int64_t b) {
  int64_t sum;
  const bool overflow = __builtin_add_overflow(a, b, &sum);
  return checked(overflow, sum);
}

int64_t multiply(int64_t a, int64_t b) {
  int64_t product;
  const bool overflow = __builtin_mul_overflow(a, b, &product);
  return checked(overflow, product);
}

int64_t floor_div_integers(int64_t a, int64_t b) {
  if (b == -1) return multiply(a, b);  // the one quotient that can overflow
  const int64_t quotient = a / b;
  return quotient - ((a % b != 0) && ((a < 0) != (b < 0)));
}

bool divides(int64_t divisor, int64_t value) { return divisor == -1 || value % divisor == 0; }

std::string_view function_name(char op) {
  switch (op) {
    case '/': return "floordiv";
    case '%': return "mod";
    case '>': return "max";
    default: return "min";
  }
}

}  // namespace

Dim Dim::symbol(std::string name) {
  if (!is_symbol_name(name)) {
    fail(ErrorCode::invalid_argument, kStage, "Use letters, digits and '_', such as 's0'.",
         "expected a symbol's name, got '{}'", name);
  }
  Atom atom{std::move(name), 0, {}};
  return from_terms(0, {Term{1, {std::move(atom)}}});
}

Dim Dim::from_terms(int64_t constant, Terms terms) {
  std::map<std::string, Term> merged;
  for (Term& term : terms) {
    auto [it, inserted] = merged.try_emplace(term.key(), term);
    if (!inserted) it->second.coefficient = add(it->second.coefficient, term.coefficient);
  }
  Terms kept;
  size_t length = 0;
  for (auto& [key, term] : merged) {
    length += key.size();
    if (term.coefficient != 0) kept.push_back(std::move(term));
  }
  if (kept.size() > kMaxTerms || length > kMaxLength) reject_size();
  Dim result(constant);
  if (!kept.empty()) result.terms_ = std::make_shared<const Terms>(std::move(kept));
  return result;
}

Dim Dim::call(char op, const Dim& a, const Dim& b) {
  std::string first = a.str(), second = b.str();
  std::vector<Dim> arguments{a, b};
  if ((op == '<' || op == '>') && second < first) {  // either order is the same
    std::swap(first, second);
    std::swap(arguments[0], arguments[1]);
  }
  Atom atom{fmt::format("{}({}, {})", function_name(op), first, second), op, std::move(arguments)};
  return from_terms(0, {Term{1, {std::move(atom)}}});
}

Dim Dim::apply(char op, const Dim& a, const Dim& b) {
  switch (op) {
    case '/': return floor_div(a, b);
    case '%': return mod(a, b);
    case '>': return max(a, b);
    default: return min(a, b);
  }
}

int64_t Dim::value() const {
  if (!is_constant()) {
    fail(ErrorCode::invalid_argument, kStage, "Bind its symbols to sizes first.",
         "expected an integer, got {}", str());
  }
  return constant_;
}

int64_t Dim::evaluate(const Bindings& bindings) const {
  const Dim result = substitute(bindings);
  if (!result.is_constant()) {
    std::vector<std::string> missing;
    result.collect_symbols(missing);
    fail(ErrorCode::invalid_argument, kStage, "Give every symbol a size.",
         "expected a size for {}, got none", fmt::join(missing, ", "));
  }
  return result.constant_;
}

Dim Dim::substitute(const Bindings& bindings) const {
  if (is_constant()) return *this;
  Dim sum(constant_);
  for (const Term& term : *terms_) {
    Dim product(term.coefficient);
    for (const Atom& atom : term.factors) {
      if (atom.op != 0) {
        product = product * apply(atom.op, atom.arguments[0].substitute(bindings),
                                  atom.arguments[1].substitute(bindings));
      } else if (auto it = bindings.find(atom.text); it != bindings.end()) {
        product = product * Dim(it->second);
      } else {
        product = product * symbol(atom.text);
      }
    }
    sum = sum + product;
  }
  return sum;
}

std::optional<int64_t> Dim::lower_bound() const {
  const auto of_atom = [](const Atom& atom) -> std::optional<int64_t> {
    if (atom.op == 0) return is_any_integer(atom.text) ? std::nullopt : std::optional<int64_t>(1);
    const auto a = atom.arguments[0].lower_bound(), b = atom.arguments[1].lower_bound();
    switch (atom.op) {
      case '>': return a && b ? std::max(*a, *b) : (a ? a : b);
      case '<': return a && b ? std::optional(std::min(*a, *b)) : std::nullopt;
      case '%': return b && *b > 0 ? std::optional<int64_t>(0) : std::nullopt;
      default: break;
    }
    if (!a || !b || *b <= 0) return std::nullopt;
    if (atom.arguments[1].is_constant()) return floor_div_integers(*a, *b);
    return *a >= 0 ? std::optional<int64_t>(0) : std::nullopt;
  };
  int64_t sum = constant_;
  for (const Term& term : terms_ ? *terms_ : Terms{}) {
    if (term.coefficient < 0) return std::nullopt;
    int64_t product = term.coefficient;
    for (const Atom& atom : term.factors) {
      const std::optional<int64_t> bound = of_atom(atom);
      if (!bound || *bound < 0) return std::nullopt;
      product = multiply(product, *bound);
    }
    sum = add(sum, product);
  }
  return sum;
}

void Dim::collect_symbols(std::vector<std::string>& names) const {
  if (is_constant()) return;
  for (const Term& term : *terms_) {
    for (const Atom& atom : term.factors) {
      if (atom.op != 0) {
        for (const Dim& argument : atom.arguments) argument.collect_symbols(names);
      } else if (std::find(names.begin(), names.end(), atom.text) == names.end()) {
        names.push_back(atom.text);
      }
    }
  }
}

std::string Dim::str() const {
  if (is_constant()) return std::to_string(constant_);
  std::string text;
  for (const Term& term : *terms_) {
    const int64_t c = term.coefficient;
    if (!text.empty() && c > 0) text += '+';
    if (c == -1) text += '-';
    text += c == 1 || c == -1 ? term.key() : std::to_string(c) + '*' + term.key();
  }
  if (constant_ != 0) text += fmt::format("{:+}", constant_);
  return text;
}

Dim operator+(const Dim& a, const Dim& b) {
  const int64_t constant = add(a.constant_, b.constant_);
  if (a.is_constant() && b.is_constant()) return constant;
  Dim::Terms terms = a.terms_ ? *a.terms_ : Dim::Terms{};
  if (b.terms_) terms.insert(terms.end(), b.terms_->begin(), b.terms_->end());
  return Dim::from_terms(constant, std::move(terms));
}

Dim operator-(const Dim& a, const Dim& b) { return a + b * Dim(-1); }

Dim operator*(const Dim& a, const Dim& b) {
  if (a.is_constant() && b.is_constant()) return multiply(a.constant_, b.constant_);
  Dim::Terms terms;
  const auto scale = [&terms](const Dim& sum, int64_t factor) {
    if (factor == 0 || !sum.terms_) return;
    for (Dim::Term term : *sum.terms_) {
      term.coefficient = multiply(term.coefficient, factor);
      terms.push_back(std::move(term));
    }
  };
  scale(a, b.constant_);
  scale(b, a.constant_);
  if (a.terms_ && b.terms_) {
    for (const Dim::Term& left : *a.terms_) {
      for (const Dim::Term& right : *b.terms_) {
        Dim::Term term{multiply(left.coefficient, right.coefficient), left.factors};
        term.factors.insert(term.factors.end(), right.factors.begin(), right.factors.end());
        std::sort(term.factors.begin(), term.factors.end(),
                  [](const auto& x, const auto& y) { return x.text < y.text; });
        terms.push_back(std::move(term));
      }
    }
  }
  return Dim::from_terms(multiply(a.constant_, b.constant_), std::move(terms));
}

bool operator==(const Dim& a, const Dim& b) {
  if (a.constant_ != b.constant_ || a.is_constant() != b.is_constant()) return false;
  if (a.is_constant() || a.terms_ == b.terms_) return true;
  return std::equal(a.terms_->begin(), a.terms_->end(), b.terms_->begin(), b.terms_->end(),
                    [](const Dim::Term& x, const Dim::Term& y) {
                      return x.coefficient == y.coefficient && x.key() == y.key();
                    });
}

Dim floor_div(const Dim& a, const Dim& b) {
  if (b.is(0)) {
    fail(ErrorCode::invalid_argument, kStage, "Check the shapes.", "{} is divided by zero",
         a.str());
  }
  if (b.is(1)) return a;
  if (a == b) return 1;
  if (a.is_constant() && b.is_constant()) return floor_div_integers(a.constant_, b.constant_);
  // Exact division by an integer, or by one product that every term contains.
  Dim::Terms quotient;
  const bool single = b.terms_ && b.terms_->size() == 1 && b.constant_ == 0;
  const int64_t divisor = b.is_constant() ? b.constant_ : (single ? (*b.terms_)[0].coefficient : 0);
  if (divisor == 0 || (single && a.constant_ != 0) || !divides(divisor, a.constant_)) {
    return Dim::call('/', a, b);
  }
  for (Dim::Term term : a.terms_ ? *a.terms_ : Dim::Terms{}) {
    if (!divides(divisor, term.coefficient)) return Dim::call('/', a, b);
    term.coefficient = floor_div_integers(term.coefficient, divisor);
    if (single) {
      for (const Dim::Atom& atom : (*b.terms_)[0].factors) {
        const auto it = std::find_if(term.factors.begin(), term.factors.end(),
                                     [&](const Dim::Atom& f) { return f.text == atom.text; });
        if (it == term.factors.end()) return Dim::call('/', a, b);
        term.factors.erase(it);
      }
    }
    quotient.push_back(std::move(term));
  }
  // A term that lost all its factors is an integer.
  int64_t constant = floor_div_integers(a.constant_, divisor);
  std::erase_if(quotient, [&constant](const Dim::Term& term) {
    if (!term.factors.empty()) return false;
    constant = add(constant, term.coefficient);
    return true;
  });
  return Dim::from_terms(constant, std::move(quotient));
}

Dim mod(const Dim& a, const Dim& b) {
  const Dim quotient = floor_div(a, b);
  if (a.is_constant() && b.is_constant()) return a - quotient * b;
  const Dim rest = a - quotient * b;
  return rest.is(0) ? rest : Dim::call('%', a, b);
}

Dim max(const Dim& a, const Dim& b) {
  if ((a - b).lower_bound().value_or(-1) >= 0) return a;
  if ((b - a).lower_bound().value_or(-1) >= 0) return b;
  return Dim::call('>', a, b);
}

Dim min(const Dim& a, const Dim& b) {
  if ((b - a).lower_bound().value_or(-1) >= 0) return a;
  if ((a - b).lower_bound().value_or(-1) >= 0) return b;
  return Dim::call('<', a, b);
}

namespace {

// expression := term (('+' | '-') term)* ; term := factor ('*' factor)*
class DimParser {
 public:
  explicit DimParser(std::string_view text) : text_(text) {}

  Dim parse() {
    Dim result = expression(0);
    if (at_ != text_.size()) reject();
    return result;
  }

 private:
  static constexpr int kDepth = 512;  // more than the longest expression can have

  Dim expression(int depth) {
    if (depth > kDepth) reject();
    Dim sum = term(depth);
    for (;;) {
      const bool minus = peek() == '-';  // the sign belongs to the factor that follows
      if (!minus && !accept('+')) return sum;
      sum = sum + term(depth);
    }
  }

  Dim term(int depth) {
    Dim product = factor(depth);
    while (accept('*')) product = product * factor(depth);
    return product;
  }

  Dim factor(int depth) {
    const char c = peek();
    const char digit = c == '-' && at_ + 1 < text_.size() ? text_[at_ + 1] : c;
    if (std::isdigit(static_cast<unsigned char>(digit))) return integer();
    return accept('-') ? Dim(-1) * symbol_or_call(depth) : symbol_or_call(depth);
  }

  Dim symbol_or_call(int depth) {
    peek();
    const size_t start = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_')) {
      ++at_;
    }
    const std::string_view word = text_.substr(start, at_ - start);
    if (word.empty()) reject();
    if (!accept('(')) return Dim::symbol(std::string(word));
    const Dim a = expression(depth + 1);
    if (!accept(',')) reject();
    const Dim b = expression(depth + 1);
    if (!accept(')')) reject();
    if (word == "floordiv") return floor_div(a, b);
    if (word == "mod") return mod(a, b);
    if (word == "max") return max(a, b);
    if (word == "min") return min(a, b);
    reject();
  }

  Dim integer() {
    int64_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) reject();
    at_ = static_cast<size_t>(end - text_.data());
    return value;
  }

  char peek() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  [[noreturn]] void reject() const {
    fail(ErrorCode::invalid_argument, kStage,
         "Write an integer, a symbol, or sums and products of them, floordiv, mod, max, min.",
         "cannot read '{}' at position {}", text_, at_);
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Dim Dim::parse(std::string_view text) { return DimParser(text).parse(); }

Dim numel(const Shape& shape) {
  Dim count = 1;
  for (const Dim& dim : shape) count = count * dim;
  return count;
}

std::string to_string(const Shape& shape) {
  std::string text = "(";
  for (const Dim& dim : shape) text += (text.size() > 1 ? ", " : "") + dim.str();
  return text + ")";
}

std::vector<int64_t> to_integers(const Shape& shape) {
  std::vector<int64_t> sizes;
  sizes.reserve(shape.size());
  for (const Dim& dim : shape) sizes.push_back(dim.value());
  return sizes;
}

}  // namespace ostinato::ir
