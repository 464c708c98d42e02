#include "ostinato/ir/dim.h"

#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <random>

#include "support/expect_error.h"

namespace ostinato::ir {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
const std::vector<std::string> kSymbols = {"a", "b", "s0", "batch_size", "_n"};

/// An expression as the dims have it, and as plain arithmetic has it for one set of bindings.
struct Pair {
  Dim dim;
  std::optional<int64_t> value;  // none once something was divided by zero
};

int64_t python_floor_div(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  if (a % b != 0 && (a % b < 0) != (b < 0)) --quotient;
  return quotient;
}

class Expressions {
 public:
  explicit Expressions(uint32_t seed) : engine_(seed) {
    for (const std::string& symbol : kSymbols) {
      bindings_[symbol] = draw(symbol[0] == '_' ? -9 : 1, 9);
    }
  }

  const Bindings& bindings() const { return bindings_; }

  Pair make(int depth) {
    if (depth == 0 || draw(0, 4) == 0) {
      if (draw(0, 1) == 0) {
        const int64_t value = draw(-4, 6);
        return {value, value};
      }
      const std::string& name = kSymbols[static_cast<size_t>(draw(0, 4))];
      return {Dim::symbol(name), bindings_.at(name)};
    }
    const Pair a = make(depth - 1), b = make(depth - 1);
    const auto both = [&](auto&& f) -> std::optional<int64_t> {
      if (!a.value || !b.value) return std::nullopt;
      return f(*a.value, *b.value);
    };
    switch (draw(0, 6)) {
      case 0: return {a.dim + b.dim, both([](int64_t x, int64_t y) { return x + y; })};
      case 1: return {a.dim - b.dim, both([](int64_t x, int64_t y) { return x - y; })};
      case 2: return {a.dim * b.dim, both([](int64_t x, int64_t y) { return x * y; })};
      case 3: return {max(a.dim, b.dim), both([](int64_t x, int64_t y) { return std::max(x, y); })};
      case 4: return {min(a.dim, b.dim), both([](int64_t x, int64_t y) { return std::min(x, y); })};
      default: break;
    }
    if (b.dim.is(0)) return a;
    const auto divide = [&](auto&& f) -> std::optional<int64_t> {
      if (!a.value || !b.value || *b.value == 0) return std::nullopt;
      return f(*a.value, *b.value);
    };
    if (draw(0, 1) == 0) return {floor_div(a.dim, b.dim), divide(python_floor_div)};
    return {mod(a.dim, b.dim),
            divide([](int64_t x, int64_t y) { return x - python_floor_div(x, y) * y; })};
  }

  int64_t draw(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }

 private:
  std::mt19937_64 engine_;
  Bindings bindings_;
};

TEST(Dim, ComputesAsIntegersDo) {
  size_t compared = 0;
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    Expressions expressions(seed);
    const Pair pair = expressions.make(4);
    if (!pair.value) continue;
    ++compared;
    EXPECT_EQ(pair.dim.evaluate(expressions.bindings()), *pair.value) << pair.dim.str();
    // Bound in two steps.
    Bindings some, rest;
    for (const auto& [name, value] : expressions.bindings()) {
      (expressions.draw(0, 1) == 0 ? some : rest)[name] = value;
    }
    EXPECT_EQ(pair.dim.substitute(some).evaluate(rest), *pair.value) << pair.dim.str();
  }
  EXPECT_GT(compared, 3000u);
}

TEST(Dim, ReadsBackWhatItPrints) {
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    const Dim dim = Expressions(seed).make(4).dim;
    const Dim again = Dim::parse(dim.str());
    EXPECT_EQ(again.str(), dim.str());
    EXPECT_TRUE(again == dim) << dim.str();
  }
}

TEST(Dim, KeepsEqualPolynomialsEqual) {
  // Sums and products in another order, distributed, and with terms that cancel.
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    Expressions expressions(seed);
    const Dim a = expressions.make(2).dim, b = expressions.make(2).dim, c = expressions.make(2).dim;
    EXPECT_TRUE(a + b == b + a);
    EXPECT_TRUE(a * b == b * a);
    EXPECT_TRUE((a + b) + c == a + (b + c));
    EXPECT_TRUE((a * b) * c == a * (b * c)) << ((a * b) * c).str() << " " << (a * (b * c)).str();
    EXPECT_TRUE(a * (b + c) == a * b + a * c);
    EXPECT_TRUE((a - b) + b == a);
    EXPECT_TRUE(max(a, b) == max(b, a));
    EXPECT_TRUE(min(a, b) == min(b, a));
  }
  const Dim s = Dim::symbol("s"), t = Dim::symbol("t");
  EXPECT_TRUE(floor_div(s * t * Dim(6), t * Dim(2)) == s * Dim(3));
  EXPECT_TRUE(mod(s * Dim(6), Dim(3)).is(0));
  EXPECT_FALSE(s == t);
  EXPECT_FALSE(s == Dim(1));
}

TEST(Dim, PrintsPlainly) {
  const Dim s = Dim::symbol("s0");
  EXPECT_EQ((s * Dim(2) + Dim(1)).str(), "2*s0+1");
  EXPECT_EQ((Dim(3) - s).str(), "-s0+3");
  EXPECT_EQ((s * s - s - Dim(4)).str(), "-s0+s0*s0-4");
  EXPECT_EQ(floor_div(s + Dim(1), 2).str(), "floordiv(s0+1, 2)");
  EXPECT_TRUE(Dim::parse(" - s0 * 2 -3 + s0*s0 - t") ==
              s * s - s * Dim(2) - Dim(3) - Dim::symbol("t"));
}

TEST(Dim, RefusesWhatItCannotHold) {
  const auto refused = [](auto&& action, const std::string& part) {
    expect_error(action, ErrorCode::invalid_argument, part);
  };
  const Dim s = Dim::symbol("s");
  refused([] { Dim(kMax) + Dim(1); }, "64 bits");
  refused([] { Dim(kMin) * Dim(-1); }, "64 bits");
  refused([] { floor_div(Dim(kMin), Dim(-1)); }, "64 bits");
  refused([&] { floor_div(s * Dim(kMin), Dim(-1)); }, "64 bits");
  refused([&] { floor_div(s, Dim(0)); }, "divided by zero");
  refused([&] { s.value(); }, "got s");
  refused([&] { (s + Dim::symbol("t")).evaluate({{"t", 1}}); }, "a size for s");
  for (const char* name : {"", "0s", "a b", "a*b", "nan", "true", "s%"}) {
    refused([&] { Dim::symbol(name); }, "a symbol's name");
  }
  for (const char* text : {"", "1+", "*2", "f(1, 2)", "max(1)", "max(1, 2", "s s", "1 2", "(s)",
                           "9223372036854775808", "+", "-", "--1", "s--"}) {
    refused([&] { Dim::parse(text); }, "cannot read");
  }
}

}  // namespace
}  // namespace ostinato::ir
