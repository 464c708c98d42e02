#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "ostinato/ir/text.h"
#include "ostinato/ir/verifier.h"
#include "ostinato/ops/ops.h"
#include "support/random_graph.h"

namespace ostinato::ir {
namespace {

TEST(RandomGraphs, PrintAndReadBackTheSame) {
  std::map<std::string_view, size_t> calls;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const Graph graph = random_graph(ops::table(), seed, {.symbolic = seed % 2 == 1});
    ASSERT_NO_THROW(verify(graph)) << print(graph);
    const std::string text = print(graph);
    Graph copy;
    ASSERT_NO_THROW(copy = parse(text, ops::table())) << text;
    ASSERT_EQ(print(copy), text);
    for (const auto& node : graph.nodes()) ++calls[node->op->name];
  }
  // The generator is worth something only if it reaches the table's rows.
  std::string missed;
  for (const OpRow* row : ops::table().rows()) {
    if (!calls.contains(row->name)) missed += std::string(row->name) + " ";
  }
  RecordProperty("rows_missed", missed);
  EXPECT_GT(calls.size() * 20, ops::table().rows().size() * 19) << missed;
}

TEST(RandomGraphs, SpecialiseToGraphsThatVerify) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    const Graph graph = random_graph(ops::table(), seed, {.symbolic = true});
    const Graph concrete = graph.specialise(random_bindings()[seed % random_bindings().size()]);
    ASSERT_NO_THROW(verify(concrete)) << print(graph);
    EXPECT_TRUE(concrete.symbols().empty());
    const std::string text = print(concrete);
    ASSERT_EQ(print(parse(text, ops::table())), text);
  }
}

TEST(FuzzSeeds, AreGraphs) {
  const std::filesystem::path folder =
      std::filesystem::path(OSTINATO_TESTS_FOLDER) / "fuzz/seeds/fuzz_graph_text";
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    const std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_NO_THROW(parse(text, ops::table())) << entry.path();
    ++count;
  }
  EXPECT_GE(count, 2u);
}

}  // namespace
}  // namespace ostinato::ir
