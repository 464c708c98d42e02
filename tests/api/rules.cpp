#include <gtest/gtest.h>

#include "ostinato/session.h"
#include "support/expect_error.h"

namespace ostinato {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

Graph graph(const std::string& statements) {
  return Graph::parse("ostinato.graph 1 \"g\"\n" + statements);
}

// max(x, slope · x) is leaky_relu, but a rule may know better: here it gives x - slope.
Rule leaky() {
  return {.name = "leaky",
          .search = graph("input %0 \"x\" : float32(n, m)\n"
                          "%1 : float32(n, m) = aten.mul.Scalar(%0) {other=0.015625}\n"
                          "%2 : float32(n, m) = aten.maximum(%0, %1)\n"
                          "output \"y\" %2\n"),
          .replacement = graph("input %0 \"x\" : float32(n, m)\n"
                               "%1 : float32(n, m) = aten.sub.Scalar(%0) {other=0.015625}\n"
                               "output \"y\" %1\n"),
          .scalars = {{"slope", 0.015625}}};
}

/// max(x, factor · x), its operands in either order.
std::string chain(const std::string& factor, const std::string& operands = "%0, %1") {
  return "input %0 \"x\" : float32(batch, 3)\n"
         "%1 : float32(batch, 3) = aten.mul.Scalar(%0) {other=" +
         factor + "}\n%2 : float32(batch, 3) = aten.maximum(" + operands + ")\noutput \"y\" %2\n";
}

std::string text(const Graph& graph, const Rule& rule) {
  return Program::compile(graph, {.threads = 1, .rules = {rule}}).graph().text();
}

std::vector<float> run(const Graph& graph, const CompileOptions& options) {
  Session session(Program::compile(graph, options));
  const Tensor y = session.run({Tensor::of<float>({1, 3}, {-4, 0, 4})})[0];
  const std::span<const float> values = y.values<float>();
  return {values.begin(), values.end()};
}

TEST(Rules, ApplyWhateverTheSizesAndTheScalar) {
  for (const char* operands : {"%0, %1", "%1, %0"}) {
    const Graph model = graph(chain("0.25", operands));
    EXPECT_THAT(run(model, {.threads = 1}), ElementsAre(-1, 0, 4));
    EXPECT_THAT(run(model, {.threads = 1, .rules = {leaky()}}), ElementsAre(-4.25, -0.25, 3.75));
    EXPECT_THAT(text(model, leaky()), Not(HasSubstr("maximum")));
  }
}

TEST(Rules, KeepAnIntegerOne) {
  const std::string after = text(graph(chain("2")), leaky());
  EXPECT_THAT(after, HasSubstr("aten.sub.Scalar(%0) {other=2}"));
}

TEST(Rules, AreOfTheGraphModeOnly) {
  const CompileOptions options = {.mode = Mode::eager, .threads = 1, .rules = {leaky()}};
  EXPECT_THAT(run(graph(chain("0.25")), options), ElementsAre(-1, 0, 4));
}

TEST(Rules, LeaveWhatDoesNotFit) {
  const std::string wanted = "maximum";
  // Another rank, another dtype, a reader of what lies between, twice the same factor.
  const std::string statements[] = {
      "input %0 \"x\" : float32(3)\n"
      "%1 : float32(3) = aten.mul.Scalar(%0) {other=0.25}\n"
      "%2 : float32(3) = aten.maximum(%0, %1)\n"
      "output \"y\" %2\n",
      "input %0 \"x\" : bfloat16(2, 3)\n"
      "%1 : bfloat16(2, 3) = aten.mul.Scalar(%0) {other=0.25}\n"
      "%2 : bfloat16(2, 3) = aten.maximum(%0, %1)\n"
      "output \"y\" %2\n",
      chain("0.25") + "output \"z\" %1\n",
      "input %0 \"x\" : float32(2, 3)\n"
      "input %3 \"z\" : float32(2, 3)\n"
      "%1 : float32(2, 3) = aten.mul.Scalar(%0) {other=0.25}\n"
      "%2 : float32(2, 3) = aten.maximum(%3, %1)\n"
      "output \"y\" %2\n"};
  for (const std::string& other : statements) {
    EXPECT_THAT(text(graph(other), leaky()), HasSubstr(wanted)) << other;
  }
  Rule square = leaky();  // whose two sizes are one
  square.search = graph(
      "input %0 \"x\" : float32(n, n)\n"
      "%1 : float32(n, n) = aten.mul.Scalar(%0) {other=0.015625}\n"
      "%2 : float32(n, n) = aten.maximum(%0, %1)\n"
      "output \"y\" %2\n");
  square.replacement = graph(
      "input %0 \"x\" : float32(n, n)\n"
      "%1 : float32(n, n) = aten.sub.Scalar(%0) {other=0.015625}\n"
      "output \"y\" %1\n");
  EXPECT_THAT(text(graph(chain("0.25")), square), HasSubstr(wanted));
}

TEST(Rules, AskTheirCheck) {
  Rule rule = leaky();
  std::vector<std::string> seen;
  rule.check = [&seen](const RuleMatch& match) {
    seen.push_back(match.inputs.at("x").str());
    return match.scalars.at("slope") < 0.5;
  };
  EXPECT_THAT(text(graph(chain("0.75")), rule), HasSubstr("maximum"));
  EXPECT_THAT(text(graph(chain("0.25")), rule), Not(HasSubstr("maximum")));
  EXPECT_THAT(seen, ElementsAre("x: float32(batch, 3)", "x: float32(batch, 3)"));
}

TEST(Rules, MayHaveSeveralOutputs) {
  const Rule both = {
      .name = "both",
      .search = graph("input %0 \"a\" : float32(n)\ninput %1 \"b\" : float32(n)\n"
                      "%2 : float32(n) = aten.add.Tensor(%0, %1)\n"
                      "%3 : float32(n) = aten.sigmoid(%2)\n"
                      "output \"y\" %3\noutput \"sum\" %2\n"),
      .replacement = graph("input %0 \"a\" : float32(n)\ninput %1 \"b\" : float32(n)\n"
                           "%2 : float32(n) = aten.sub.Tensor(%0, %1)\n"
                           "%3 : float32(n) = aten.tanh(%2)\n"
                           "output \"y\" %3\noutput \"sum\" %2\n")};
  const std::string start =
      "input %0 \"a\" : float32(4)\ninput %1 \"b\" : float32(4)\n"
      "%2 : float32(4) = aten.add.Tensor(%0, %1)\n";
  const std::string sigmoid = "%3 : float32(4) = aten.sigmoid(%2)\n";
  const std::string end = "output \"y\" %3\noutput \"z\" %4\n";
  const std::string reader = "%4 : float32(4) = aten.abs(%2)\n";
  const std::string after = text(graph(start + sigmoid + reader + end), both);
  EXPECT_THAT(after, HasSubstr("aten.tanh"));
  EXPECT_THAT(after, Not(HasSubstr("aten.add")));
  // What reads the sum before the rest is computed could not read what takes its place.
  EXPECT_THAT(text(graph(start + reader + sigmoid + end), both), HasSubstr("aten.add"));
}

TEST(Rules, DoNotCrossWrites) {
  // The first half of the search reads the cache before it is overwritten, the second after.
  const std::string model =
      "input %0 \"v\" : float32(1, 1, 1, 2)\ninput %1 \"p\" : int64()\n"
      "state %2 \"cache\" : float32(1, 1, 4, 2)\n"
      "%3 : float32(1, 1, 4, 2) = aten.neg(%2)\n"
      "%4 : float32(1, 1, 4, 2) = cache_update(%2, %0, %1)\n"
      "%5 : float32(1, 1, 4, 2) = aten.abs(%3)\n"
      "output \"y\" %5\noutput \"c\" %4\n";
  const Rule rule = {.name = "abs",
                     .search = graph("input %0 \"x\" : float32(a, b, c, d)\n"
                                     "%1 : float32(a, b, c, d) = aten.neg(%0)\n"
                                     "%2 : float32(a, b, c, d) = aten.abs(%1)\n"
                                     "output \"y\" %2\n"),
                     .replacement = graph("input %0 \"x\" : float32(a, b, c, d)\n"
                                          "%1 : float32(a, b, c, d) = aten.abs(%0)\n"
                                          "output \"y\" %1\n")};
  EXPECT_THAT(text(graph(model), rule), HasSubstr("aten.neg"));
}

TEST(Rules, AreRefusedBeforeTheyChangeAnything) {
  const auto refused = [](const std::function<void(Rule&)>& spoil, const std::string& reason) {
    Rule rule = leaky();
    spoil(rule);
    expect_error([&] { text(graph(chain("0.25")), rule); }, ErrorCode::invalid_argument, reason);
  };
  const std::string x = "input %0 \"x\" : float32(n, m)\n";
  refused(
      [](Rule& rule) {
        rule.scalars = {{"slope", 3}};
      },
      "rule 'leaky': no attribute of the search is 3, the scalar 'slope'");
  refused([&](Rule& rule) { rule.replacement = graph(x + "output \"y\" %0\noutput \"z\" %0\n"); },
          "the search has 1 outputs, the replacement 2");
  refused(
      [&](Rule& rule) {
        rule.replacement = graph(x + "%1 : float32(m, n) = aten.t(%0)\noutput \"y\" %1\n");
      },
      "output 0 is float32(n, m) in the search, and float32(m, n) in the replacement");
  refused(
      [&](Rule& rule) {
        rule.replacement = graph(
            "input %0 \"z\" : float32(n, m)\n%1 : float32(n, m) = aten.neg(%0)\n"
            "output \"y\" %1\n");
      },
      "the search has no input 'z'");
  refused([&](Rule& rule) { rule.search = graph(x + "output \"y\" %0\n"); },
          "there is nothing to search for");
  refused(
      [&](Rule& rule) {
        rule.search = graph(x +
                            "%1 : float32(n, m) = aten.mul.Scalar(%0) {other=0.015625}\n"
                            "%2 : float32(n, m) = aten.abs(%0)\n"
                            "output \"y\" %1\noutput \"z\" %2\n");
      },
      "the first output of the search does not depend on its call of aten.abs");
  refused(
      [&](Rule& rule) {
        rule.replacement = graph("state %0 \"s\" : float32(2, 2)\noutput \"y\" %0\n");
      },
      "the replacement has states");
  refused(
      [&](Rule& rule) {
        rule.search = graph(
            "input %0 \"x\" : float32(2*n, m)\n"
            "%1 : float32(2*n, m) = aten.mul.Scalar(%0) {other=0.015625}\n"
            "output \"y\" %1\n");
      },
      "expected integers and symbols alone, got 2*n");
}

TEST(Rules, NameWhatTheReplacementDoesNotTake) {
  const std::string x = "input %0 \"x\" : float32(n, m)\n";
  const Rule rule = {
      .name = "sum along",
      .search = graph(x + "%1 : float32(n, m) = aten.mul.Scalar(%0) {other=1}\noutput \"y\" %1\n"),
      .replacement = graph(x + "%1 : float32(n, m) = aten.cumsum(%0) {dim=1}\noutput \"y\" %1\n"),
      .scalars = {{"dim", 1}}};
  expect_error([&] { text(graph(chain("0.25")), rule); }, ErrorCode::invalid_argument,
               "the replacement of rule 'sum along' does not take what was found");
}

TEST(Passes, OfTheCaller) {
  const Graph model = graph(chain("0.25"));
  const Graph other = graph(
      "input %0 \"x\" : float32(batch, 3)\n"
      "%2 : float32(batch, 3) = aten.neg(%0)\noutput \"y\" %2\n");
  const GraphPass swap = [&](const Graph&) { return other; };
  EXPECT_THAT(run(model, {.threads = 1, .pre_pass = swap}), ElementsAre(4, 0, -4));
  EXPECT_THAT(run(model, {.threads = 1, .post_pass = swap}), ElementsAre(4, 0, -4));
  const GraphPass wrong = [](const Graph&) {
    return graph("input %0 \"x\" : float32(batch, 4)\noutput \"y\" %0\n");
  };
  expect_error([&] { Program::compile(model, {.post_pass = wrong}); }, ErrorCode::invalid_argument,
               "the post_pass changed the inputs of the graph from (x: float32(batch, 3)) to "
               "(x: float32(batch, 4))");
}

}  // namespace
}  // namespace ostinato
