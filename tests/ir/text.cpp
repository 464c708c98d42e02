#include "ostinato/ir/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "ostinato/base/error.h"
#include "ostinato/ir/builder.h"
#include "ostinato/ir/verifier.h"

namespace ostinato::ir {
namespace {

using testing::HasSubstr;

std::vector<ValueType> infer_first(const Node& node) { return {node.operands.at(0)->type}; }

std::vector<ValueType> infer_pair(const Node& node) {
  return {node.operands.at(0)->type, {DType::int64, node.operands.at(0)->shape()}};
}

/// Rows that need no rules of shape: what is tested here is the text.
const OpTable& table() {
  static const OpTable instance = [] {
    OpTable rows;
    rows.add({.name = "same",
              .operands = {{"self"}, {"other", OperandKind::optional}},
              .attributes = {{"flag", AttrKind::boolean, true},
                             {"size", AttrKind::integer, Dim(0)},
                             {"eps", AttrKind::real, 1e-5},
                             {"alpha", AttrKind::scalar, Dim(1)},
                             {"mode", AttrKind::string, "none"},
                             {"dtype", AttrKind::dtype, Attribute{}},
                             {"dims", AttrKind::integers, Shape{}}},
              .infer = infer_first});
    rows.add({.name = "listed.List",
              .operands = {{"first"}, {"rest", OperandKind::optional_list}, {"last"}},
              .attributes = {{"dim", AttrKind::integer}},
              .infer = infer_first});
    rows.add({.name = "pair", .operands = {{"self"}}, .results = 2, .infer = infer_pair});
    rows.add({.name = "write",
              .operands = {{"self"}, {"value"}},
              .infer = infer_first,
              .traits = {.mutates = {0}}});
    return rows;
  }();
  return instance;
}

/// A text of this statement, in the third line.
std::string with(std::string_view statement) {
  return fmt::format("ostinato.graph 1 \"test\"\ninput %0 \"x\" : float32(2, s0)\n{}\n", statement);
}

std::string error_of(std::string_view text) {
  try {
    parse(text, table());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_EQ(error.stage(), "ir/parser");
    EXPECT_FALSE(error.hint().empty());
    return error.message();
  }
  return "no error";
}

TEST(Text, PrintsWhatItReads) {
  const std::string text =
      "ostinato.graph 1 \"a \\\"quoted\\\" name\\n\\x01\\\\ with ünïcode\"\n"
      "input %7 \"x\" : float32(2, s0)\n"
      "input %3 \"scalar\" : bool()\n"
      "constant %12 \"model.weight\" : bfloat16(3, 4)\n"
      "constant %0 : float32(2, 2) = [1.0, -0.0, inf, nan]\n"
      "constant %1 : float16(3) = [0.099975586, -inf, 6.103515625e-05]\n"
      "constant %2 : bfloat16(1) = [3.1413e+30]\n"
      "constant %20 : int64() = [-9223372036854775808]\n"
      "constant %21 : bool(2) = [true, false]\n"
      "constant %22 : uint8(0) = []\n"
      "state %9 \"past.0\" : int32(1, 8)\n"
      "%30 : float32(2, s0) = same(%7, None)\n"
      "%4 : float32(2, s0) = same(%30, %3) {flag=false, size=2*s0-1, eps=1.0, alpha=true, "
      "mode=\"a, b\", dtype=int32, dims=[1, floordiv(s0, 2), -1]} @ \"model.layer # 1\"\n"
      "%5 : float32(2, s0), %6 : int64(2, s0) = pair(%4)\n"
      "%8 : float32(2, s0) = listed.List(%5, [], %6) {dim=1}\n"
      "%10 : float32(2, s0) = listed.List(%5, [%6, None, %6], %7) {dim=1}\n"
      "%11 : int32(1, 8) = write(%9, %20)\n"
      "output \"logits\" %10\n"
      "output \"same again\" %10\n";
  const std::string printed = print(parse(text, table()));
  // A half prints as the shortest single that reads back to it.
  EXPECT_EQ(print(parse(printed, table())), printed);
  EXPECT_THAT(printed, HasSubstr("constant %0 : float32(2, 2) = [1.0, -0.0, inf, nan]\n"));
  const auto after_constants = [](const std::string& s) { return s.substr(s.find("state %9")); };
  EXPECT_EQ(after_constants(printed), after_constants(text));
}

TEST(Text, IgnoresCommentsSpacesAndCarriageReturns) {
  const Graph graph = parse(
      "# a graph\r\n\n ostinato.graph 1 \"g\" # its name\r\n\tinput %0 \"x#y\":float32( 2 , s0 "
      ")\r\n"
      "%1:float32(2,s0)=same( %0 , None ){ dims = [ 1,2 ] , flag=false }@\"m\"  # done\r\n"
      "output \"y\" %1",
      table());
  EXPECT_EQ(print(graph),
            "ostinato.graph 1 \"g\"\n"
            "input %0 \"x#y\" : float32(2, s0)\n"
            "%1 : float32(2, s0) = same(%0, None) {flag=false, dims=[1, 2]} @ \"m\"\n"
            "output \"y\" %1\n");
}

TEST(Text, KeepsInlineConstantsBitForBit) {
  Graph graph;
  Builder builder(graph, table());
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    const auto count = static_cast<int64_t>(64);
    Tensor data = Tensor::empty(dtype, {count});
    uint32_t bits = 0x1234567;
    for (size_t i = 0; i < data.bytes(); ++i) {
      bits = bits * 1664525 + 1013904223;
      data.as<uint8_t>()[i] = static_cast<uint8_t>(bits >> 24);
    }
    // NaNs lose their payload, so there are none here: clear the exponent's last bit.
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      const size_t size = data.bytes() / static_cast<size_t>(count);
      data.as<uint8_t>()[(i + 1) * size - 1] &= 0xbb;
    }
    builder.constant(data);
  }
  const Graph copy = parse(print(graph), table());
  for (size_t i = 0; i < 3; ++i) {
    const Tensor& before = graph.constants()[i]->data;
    const Tensor& after = copy.constants()[i]->data;
    EXPECT_EQ(std::memcmp(before.data(), after.data(), before.bytes()), 0) << print(graph);
  }
}

TEST(Text, NamesTheParserOfEveryMistake) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "line 1: expected 'ostinato.graph 1 \"NAME\"', got the end of the line"},
      {"input %0 \"x\" : float32()", "line 1: expected 'ostinato.graph 1 \"NAME\"' first"},
      {"%0 : float32() = same(%1)", "line 1: expected 'ostinato.graph 1 \"NAME\"' first"},
      {"ostinato.graph 2 \"g\"", "line 1: expected version 1, got '2'"},
      {with("nonsense"), "line 3: expected input, constant, state, output or %ID, got 'nonsense'"},
      {with("input %1 x : float32()"), "line 3: expected '\"', got \"x : float32()\""},
      {with("input %1 \"x\" : float32()"), "line 3: there are two inputs named \"x\""},
      {with("input %0 \"y\" : float32()"), "line 3: %0 is defined twice"},
      {with("input %-1 \"y\" : float32()"), "line 3: expected a number from 0 to 4194303"},
      {with("input %99999999 \"y\" : float32()"), "line 3: expected a number from 0 to 4194303"},
      {with("input %1 \"y : float32()"), "line 3: expected a closing '\"'"},
      {with("input %1 \"\\q\" : float32()"), "line 3: expected one of \\\", \\\\, \\n and \\xHH"},
      {with("input %1 \"y\" : float33()"), "line 3: [dtype] expected a dtype, got 'float33'"},
      {with("input %1 \"y\" : float32(2"), "line 3: expected ')', got the end of the line"},
      {with("input %1 \"y\" : float32(-1)"), "line 3: -1 cannot be the size"},
      {with("input %1 \"y\" : float32(1+)"), "line 3: [ir/dim] cannot read '1+' at position 2"},
      {with("input %1 \"y\" : float32(4294967296, 4294967296)"), "line 3: [ir/dim] expected sizes"},
      {with("input %1 \"y\" : float32() x"), "line 3: expected the end of the line, got \"x\""},
      {with("constant %1 : float32(s0) = [1.0]"), "line 3: s0 cannot be the size"},
      {with("constant %1 : float32(2)"), "line 3: expected '='"},
      {with("constant %1 : float32(2) = [1.0]"), "line 3: expected 2 elements, got 1"},
      {with("constant %1 : float32(1000000000000) = [1.0]"), "expected 1000000000000 elements"},
      {with("constant %1 : int32(1) = [1.5]"), "line 3: \"1.5\" is not an element"},
      {with("constant %1 : uint8(1) = [256]"), "line 3: \"256\" is not an element"},
      {with("constant %1 : bool(1) = [1]"), "line 3: \"1\" is not an element"},
      {with("%1 : float32(2, s0) = sane(%0, None)"), "line 3: [ir/op] there is no operator 'sane'"},
      {with("%1 : float32(2, s0) = same(%0)"), "line 3: expected ',', got \")\""},
      {with("%1 : float32(2, s0) = same(None, %0)"), "line 3: [ops/same] expected a tensor"},
      {with("%1 : float32(2, s0) = same(%2, None)"), "line 3: %2 is used before it is defined"},
      {with("%1 : float32(2, s0) = same(x, None)"), "line 3: expected %ID or None"},
      {with("%1 : float32(2, 3) = same(%0, None)"),
       "line 3: expected %1 to be float32(2, s0), got float32(2, 3)"},
      {with("%1 : float32(2, s0) = pair(%0)"), "line 3: expected 2 results of pair, got 1"},
      {with("same(%0, None)"), "line 3: expected 1 results of same, got 0"},
      {with("%1 : float32(2, s0) = same(%0, None) {x=1}"), "line 3: same has no attribute 'x'"},
      {with("%1 : float32(2, s0) = same(%0, None) {eps=1, eps=2}"), "'eps' is given twice"},
      {with("%1 : float32(2, s0) = same(%0, None) {eps=true}"), "expected a value of kind real"},
      {with("%1 : float32(2, s0) = same(%0, None) {dims=3}"), "expected a value of kind integers"},
      {with("%1 : float32(2, s0) = same(%0, None) {eps=None}"),
       "line 3: [ops/same] expected 'eps' to be of kind real, got None"},
      {with("%1 : float32(2, s0) = listed.List(%0, [], %0) {dim=None}"),
       "line 3: [ops/listed.List] expected 'dim' to be of kind integer, got None"},
      {with("%1 : float32(2, s0) = same(%0, None) {mode=a}"), "expected a value of kind string"},
      {with("%1 : float32(2, s0) = listed.List(%0, [], %0)"), "listed.List's attribute 'dim'"},
      {with("output \"y\" %0\noutput \"y\" %0"), "line 4: there are two outputs named \"y\""},
      {with("%1 : float32(2, s0) = write(%0, %0)"), "mutation: "},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_THAT(error_of(text), HasSubstr(expected)) << text;
}

TEST(Text, GivesNamelessBigConstantsNamesOfTheirOwn) {
  Graph graph;
  Builder builder(graph, table());
  builder.constant(Tensor::empty(DType::float32, {65}));
  graph.add_constant("constant.0", {DType::int64, {}});
  const auto external = external_constants(graph);
  ASSERT_EQ(external.size(), 2u);
  EXPECT_EQ(external[0].first, "constant.0_");
  EXPECT_EQ(external[0].second, graph.constants()[0]);
  EXPECT_EQ(external[1].first, "constant.0");
  EXPECT_EQ(print(graph),
            "ostinato.graph 1 \"\"\n"
            "constant %0 \"constant.0_\" : float32(65)\n"
            "constant %1 \"constant.0\" : int64()\n");
}

TEST(Text, AttachesConstantsAndChecksThem) {
  const std::string text = "ostinato.graph 1 \"g\"\nconstant %0 \"w\" : float32(2)\n";
  Graph graph = parse(text, table());
  const auto give = [&graph](Tensor tensor) {
    try {
      attach_constants(graph, [&](const std::string& name) {
        EXPECT_EQ(name, "w");
        return tensor;
      });
    } catch (const Error& error) {
      return error.message();
    }
    return std::string("none");
  };
  EXPECT_EQ(give({}), "expected a tensor 'w' of float32(2), got none");
  EXPECT_EQ(give(Tensor::empty(DType::float32, {3})),
            "expected float32(2) for 'w', got float32(3)");
  EXPECT_EQ(give(Tensor::empty(DType::float16, {2})),
            "expected float32(2) for 'w', got float16(2)");
  EXPECT_EQ(give(Tensor::empty(DType::float32, {2})), "none");
  EXPECT_TRUE(graph.constants()[0]->data.defined());
}

TEST(Text, SurvivesExpressionsMadeToExplode) {
  // Products of sums, and calls whose text would double at every level.
  std::string sum = "a";
  for (char c = 'b'; c <= 'z'; ++c) sum += std::string("+") + c;
  std::string product = "floordiv(" + sum + ", 1)";
  for (int i = 0; i < 6; ++i) product += "*floordiv(" + sum + ", 1)";
  EXPECT_THAT(error_of(with("input %1 \"y\" : float32(" + product + ")")), HasSubstr("terms"));
  std::string doubled = "a";
  for (int i = 0; i < 60; ++i) doubled = "floordiv(a+b, 1)*max(" + doubled + ", c)";
  EXPECT_THAT(error_of(with("input %1 \"y\" : float32(" + doubled + ")")), HasSubstr("characters"));
  const std::string deep(100000, '(');
  EXPECT_THAT(error_of(with("input %1 \"y\" : float32(" + deep + ")")), HasSubstr("line 3"));
  std::string calls;
  for (int i = 0; i < 100000; ++i) calls += "max(";
  EXPECT_THAT(error_of(with("input %1 \"y\" : float32(" + calls + ")")), HasSubstr("line 3"));
}

}  // namespace
}  // namespace ostinato::ir
