#include "ostinato/passes/pipeline.h"
#include "passes/rewritten.h"

namespace ostinato::passes {
namespace {

std::string with_leaves(const std::string& statements) {
  return "input %0 \"x\" : float32(s0, 6, 8)\n"
         "input %1 \"last\" : int64(1)\n"
         "input %2 \"position\" : int64()\n"
         "input %3 \"long\" : float32(s0, s1, 8)\n"
         "constant %4 \"w\" : float32(8, 8)\n"
         "constant %5 \"v\" : float32(8)\n" +
         statements;
}

std::string selected(const std::string& statements) {
  return rewritten(select_early, with_leaves(statements));
}

bool nothing(ir::Graph&, const PassContext&) { return false; }

void expect_all(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) EXPECT_NE(text.find(part), std::string::npos) << part << text;
}

TEST(SelectEarly, OfALayer) {
  const std::string text = selected(
      "%10 : float32(s0, 6, 8), %11 : float32(s0, 6, 8), %12 : float32(s0, 6, 8) = "
      "linears(%0, [%4, %5, %4, %5, %4, None])\n"
      "%13 : float32(s0, 6, 2, 4) = aten.view(%10) {size=[s0, 6, 2, 4]}\n"
      "%14 : float32(s0, 6, 2, 4) = aten.view(%11) {size=[s0, 6, 2, 4]}\n"
      "%15 : float32(s0, 6, 2, 4) = aten.view(%12) {size=[s0, 6, 2, 4]}\n"
      "%16 : float32(s0, 2, 6, 4) = aten.permute(%13) {dims=[0, 2, 1, 3]}\n"
      "%17 : float32(s0, 2, 6, 4) = aten.permute(%14) {dims=[0, 2, 1, 3]}\n"
      "%18 : float32(s0, 2, 6, 4) = aten.permute(%15) {dims=[0, 2, 1, 3]}\n"
      "%19 : float32(s0, 2, 6, 4) = attention(%16, %17, %18, None, None, None)\n"
      "%20 : float32(s0, 6, 2, 4) = aten.permute(%19) {dims=[0, 2, 1, 3]}\n"
      "%21 : float32(s0, 6, 8) = aten.reshape(%20) {shape=[s0, 6, 8]}\n"
      "%22 : float32(s0, 6, 8) = linear(%21, %4, %5, %0) {activation=\"none\"}\n"
      "%23 : float32(s0, 6, 8) = layer_norm(%22, %5, None) {eps=1e-05}\n"
      "%24 : float32(s0, 6, 8) = gated_linear(%23, %4, %4, None, None) {activation=\"silu\"}\n"
      "%25 : float32(s0, 6, 8) = linear(%24, %4, None, %22) {activation=\"none\"}\n"
      "%26 : float32(s0, 8) = aten.select.int(%25) {dim=1, index=0}\n"
      "output \"y\" %26\n");
  expect_all(text, {"float32(s0, 1, 8) = aten.linear(", ", %4, %5)\n",
                    "float32(s0, 6, 8) = linears(%0, [%4, %5, %4, None])",
                    "float32(s0, 1, 2, 4) = aten.view(", "{size=[s0, 1, 2, 4]}",
                    "float32(s0, 2, 1, 4) = attention(", "{shape=[s0, 1, 8]}",
                    "float32(s0, 1, 8) = layer_norm(", "float32(s0, 1, 8) = gated_linear(",
                    "float32(s0, 8) = aten.squeeze.dim("});
  EXPECT_EQ(text.find("float32(s0, 6, 8) = linear("), std::string::npos) << text;
  // The residual and the queries' rows.
  const std::string taken = "aten.slice.Tensor(%0) {dim=1, start=0, end=1}";
  EXPECT_NE(text.find(taken), text.rfind(taken)) << text;
}

TEST(SelectEarly, OfCausalAttention) {
  const std::string before =
      "input %6 \"q\" : float32(s0, 2, 6, 4)\n"
      "input %7 \"k\" : float32(s0, 2, 9, 4)\n";
  const std::string last = "{dim=2, start=-1}\noutput \"y\" %11\n";
  const std::string step = "%11 : float32(s0, 2, 1, 4) = aten.slice.Tensor(%10) " + last;
  const std::string by_index =
      "%11 : float32(s0, 2, 1, 4) = aten.index_select(%10, %1) {dim=2}\noutput \"y\" %11\n";
  const std::string attention = "%10 : float32(s0, 2, 6, 4) = attention(%6, %7, %7, None, ";
  const std::string offset = "None, None) {causal=true, offset=3}\n", at = "%2, None) {causal=true";
  expect_all(selected(before + attention + offset + step), {"causal=true, offset=8"});
  expect_all(selected(before + attention + at + ", window=2}\n" + step),
             {"int64() = aten.add.Scalar(%2) {other=5}", "causal=true, window=2"});
  expect_all(selected(before + attention + offset + by_index),
             {"int64() = aten.view(%1) {size=[]}", "int64() = aten.add.Scalar(", "{other=3}",
              "aten.index_select(%6, %1) {dim=2}", "float32(s0, 2, 1, 4) = attention("});
  expect_all(selected(before + attention + at + "}\n" + by_index),
             {"int64() = aten.view(%1) {size=[]}", "int64() = aten.add.Tensor(", ", %2)"});
  // Two queries at positions of which only data knows the distance.
  const std::string two = selected(before + "input %8 \"two\" : int64(2)\n" + attention + at +
                                   "}\n%11 : float32(s0, 2, 2, 4) = aten.index_select(%10, %8) "
                                   "{dim=2}\noutput \"y\" %11\n");
  expect_all(two, {"= attention(%6, "});
}

TEST(SelectEarly, OfMasksAndWhatIsBroadcast) {
  const std::string attention =
      "input %6 \"q\" : float32(s0, 2, 6, 4)\n"
      "input %7 \"m\" : bool(6, 6)\n"
      "input %8 \"n\" : bool(s0, 1, 1, 6)\n"
      "%10 : float32(s0, 2, 6, 4) = attention(%6, %6, %6, ";
  const std::string row =
      ", None, None)\n"
      "%11 : float32(s0, 2, 4) = aten.select.int(%10) {dim=2, index=2}\noutput \"y\" %11\n";
  expect_all(selected(attention + "%7" + row), {"aten.slice.Tensor(%7) {start=2, end=3}"});
  expect_all(selected(attention + "%8" + row), {", %6, %6, %8, None, None)"});
  const std::string sum = selected(
      "%10 : float32(s0, 6, 8) = aten.add.Tensor(%0, %5)\n"
      "%11 : float32(s0, 2, 8) = aten.slice.Tensor(%10) {dim=1, start=1, end=3}\n"
      "output \"y\" %11\n");
  expect_all(sum, {"aten.slice.Tensor(%0) {dim=1, start=1, end=3}", ", %5)"});
}

TEST(SelectEarly, OfSeveralReadersThatTakeTheSame) {
  const std::string text = selected(
      "%10 : float32(s0, 6, 8), %11 : float32(s0, 6, 8) = add_rms_norm(%0, %0, %5) {eps=1e-06}\n"
      "%12 : float32(s0, 8) = aten.select.int(%10) {dim=1, index=-1}\n"
      "%13 : float32(s0, 1, 8) = aten.slice.Tensor(%11) {dim=-2, start=5}\n"
      "output \"y\" %12\noutput \"z\" %13\n");
  expect_all(text, {"float32(s0, 1, 8) = add_rms_norm(", "float32(s0, 8) = aten.squeeze"});
}

TEST(SelectEarly, NotWhereMoreIsReadOrKnown) {
  const std::string relu = "%10 : float32(s0, 6, 8) = aten.relu(%0)\n";
  const std::string long_relu = "%10 : float32(s0, s1, 8) = aten.relu(%3)\n";
  const std::string row =
      "%11 : float32(s0, 8) = aten.select.int(%10) {dim=1, index=0}\noutput \"y\" %11\n";
  const std::string other_reader = "%12 : float32(s0, 6, 8) = aten.neg(%10)\noutput \"z\" %12\n";
  const std::string other_row =
      "%12 : float32(s0, 8) = aten.select.int(%10) {dim=1, index=1}\noutput \"z\" %12\n";
  const std::string many_rows =
      "%11 : float32(s0, 4, 8) = aten.slice.Tensor(%10) {dim=1, end=4}\noutput \"y\" %11\n";
  const std::string every_other =
      "%11 : float32(s0, 3, 8) = aten.slice.Tensor(%10) {dim=1, step=2}\noutput \"y\" %11\n";
  const std::string late_index =
      "%12 : int64(1) = aten.neg(%1)\n"
      "%11 : float32(s0, 1, 8) = aten.index_select(%10, %12) {dim=1}\noutput \"y\" %11\n";
  const std::string column =
      "%10 : float32(s0, 6, 8) = aten.linear(%0, %4, None)\n"
      "%11 : float32(s0, 6) = aten.select.int(%10) {dim=2, index=0}\noutput \"y\" %11\n";
  const std::string sum = "%10 : float32(s0, 6, 8) = aten.cumsum(%0) {dim=1}\n";
  const std::string head =
      "input %6 \"q\" : float32(s0, 6, 5, 4)\n"
      "%10 : float32(s0, 6, 5, 4) = attention(%6, %6, %6, None, None, None)\n"
      "%11 : float32(s0, 5, 4) = aten.select.int(%10) {dim=1, index=0}\noutput \"y\" %11\n";
  for (const std::string& statements :
       {relu + "output \"z\" %10\n" + row, relu + other_reader + row, relu + other_row + row,
        relu + many_rows, relu + every_other, relu + late_index, long_relu + row, column, sum + row,
        head}) {
    EXPECT_EQ(selected(statements), rewritten(nothing, with_leaves(statements)));
  }
}

TEST(SelectEarly, NotPastWritesToStates) {
  const std::string statements = with_leaves(
      "state %6 \"s\" : float32(1, 2, 6, 4)\n"
      "input %7 \"fresh\" : float32(1, 2, 1, 4)\n"
      "%10 : float32(1, 2, 6, 4) = cache_update(%6, %7, %2)\n"
      "%11 : float32(1, 6, 2, 4) = aten.permute(%10) {dims=[0, 2, 1, 3]}\n"
      "%12 : float32(1, 2, 4) = aten.select.int(%11) {dim=1, index=0}\noutput \"y\" %12\n");
  EXPECT_EQ(rewritten(select_early, statements), rewritten(nothing, statements));
}

TEST(SelectEarly, OnceSizesAreKnown) {
  ir::Graph graph = ir::parse(
      "ostinato.graph 1 \"test\"\n"
      "input %0 \"x\" : float32(1, s0, 8)\n"
      "input %1 \"last\" : int64(1)\n"
      "constant %2 \"w\" : float32(8, 8)\n"
      "%10 : float32(1, s0, 8) = aten.linear(%0, %2, None)\n"
      "%11 : float32(1, 1, 8) = aten.index_select(%10, %1) {dim=1}\n"
      "output \"y\" %11\n",
      ops::table());
  for (const PassReport& report : optimise(graph)) EXPECT_FALSE(report.changed) << report.name;
  const auto bound = [&](int64_t rows, const PipelineOptions& options) {
    ir::Graph twin = graph.specialise({{"s0", rows}});
    optimise_bound(twin, options);
    return print(twin);
  };
  const std::string early = "= aten.index_select(%0, %1)";
  EXPECT_NE(bound(2, {}).find(early), std::string::npos);
  EXPECT_EQ(bound(1, {}).find(early), std::string::npos);
  EXPECT_EQ(bound(2, {.off = {"select_early"}}).find(early), std::string::npos);
  EXPECT_EQ(bound(2, {.late = false}).find(early), std::string::npos);
}

}  // namespace
}  // namespace ostinato::passes
