#include <algorithm>
#include <functional>

#include "ops/calls.h"

namespace ostinato::ops {
namespace {

using ir::Dim;
using ir::Layout;
using ir::NamedAttribute;
using ir::Shape;

using Index = std::vector<int64_t>;

int64_t offset_of(const Layout& layout, const Index& index) {
  int64_t offset = layout.offset;
  for (size_t d = 0; d < index.size(); ++d) offset += index[d] * layout.strides[d];
  return offset;
}

Index index_of(int64_t position, const Index& sizes) {
  Index index(sizes.size());
  for (size_t d = sizes.size(); d-- > 0; position /= sizes[d]) index[d] = position % sizes[d];
  return index;
}

// Layouts of one shape: dense with an offset, permuted, cut out of something larger, and repeated.
std::vector<Layout> layouts_of(const Index& sizes) {
  Layout dense = Layout::contiguous(sizes);
  dense.offset = 7;
  Layout permuted = Layout::contiguous({sizes.rbegin(), sizes.rend()});
  permuted.sizes = sizes;
  std::reverse(permuted.strides.begin(), permuted.strides.end());
  Index larger = sizes;
  for (int64_t& size : larger) size = 2 * size + 1;
  Layout cut = Layout::contiguous(larger);
  cut.sizes = sizes;
  for (int64_t& stride : cut.strides) stride *= 2;
  Layout repeated = Layout::contiguous(sizes);
  repeated.strides[0] = 0;
  return {dense, permuted, cut, repeated};
}

// What an operator does, said once more and by hand: where each element of a result comes from.
struct ViewCase {
  const char* op;
  std::vector<NamedAttribute> attributes;
  Index sizes;
  std::function<Index(const Index& index, int64_t result)> source;
};

// The i-th element in row-major order comes from the i-th.
std::function<Index(const Index&, int64_t)> same_order(Index to, Index from) {
  return [to, from](const Index& index, int64_t) {
    int64_t position = 0;
    for (size_t d = 0; d < to.size(); ++d) position = position * to[d] + index[d];
    return index_of(position, from);
  };
}

std::vector<ViewCase> reshapes() {
  return {
      {"aten.view", {{"size", Shape{6, 4}}}, {2, 3, 4}, same_order({6, 4}, {2, 3, 4})},
      {"aten.view", {{"size", Shape{2, -1, 2}}}, {2, 3, 4}, same_order({2, 6, 2}, {2, 3, 4})},
      {"aten._unsafe_view", {{"size", Shape{24}}}, {2, 3, 4}, same_order({24}, {2, 3, 4})},
      {"aten.reshape", {{"shape", Shape{2, 1, 12}}}, {2, 3, 4}, same_order({2, 1, 12}, {2, 3, 4})},
  };
}

std::vector<ViewCase> strided_views() {
  const auto same = [](const Index& i, int64_t) { return i; };
  return {
      {"aten.permute",
       {{"dims", Shape{2, 0, -2}}},
       {2, 3, 4},
       [](const Index& i, int64_t) {
         return Index{i[1], i[2], i[0]};
       }},
      {"aten.transpose.int",
       {{"dim0", 0}, {"dim1", -1}},
       {2, 3, 4},
       [](const Index& i, int64_t) {
         return Index{i[2], i[1], i[0]};
       }},
      {"aten.t",
       {},
       {2, 3},
       [](const Index& i, int64_t) {
         return Index{i[1], i[0]};
       }},
      {"aten.t", {}, {3}, same},
      {"aten.expand",
       {{"size", Shape{5, -1, 3, 4}}},
       {2, 1, 4},
       [](const Index& i, int64_t) {
         return Index{i[1], 0, i[3]};
       }},
      {"aten.unsqueeze",
       {{"dim", -1}},
       {2, 3},
       [](const Index& i, int64_t) {
         return Index{i[0], i[1]};
       }},
      {"aten.unsqueeze",
       {{"dim", 1}},
       {2, 3},
       [](const Index& i, int64_t) {
         return Index{i[0], i[2]};
       }},
      {"aten.squeeze",
       {},
       {1, 3, 1, 2},
       [](const Index& i, int64_t) {
         return Index{0, i[0], 0, i[1]};
       }},
      {"aten.squeeze.dim",
       {{"dim", -2}},
       {1, 3, 1, 2},
       [](const Index& i, int64_t) {
         return Index{i[0], i[1], 0, i[2]};
       }},
      {"aten.squeeze.dim", {{"dim", 1}}, {1, 3}, same},
      {"aten.squeeze.dims",
       {{"dim", Shape{0, 1}}},
       {1, 3, 1},
       [](const Index& i, int64_t) {
         return Index{0, i[0], i[1]};
       }},
      {"aten.alias", {}, {2, 3}, same},
      {"aten.detach", {}, {2, 3}, same},
      {"aten.slice.Tensor",
       {{"dim", 1}, {"start", -3}, {"end", std::numeric_limits<int64_t>::max()}, {"step", 2}},
       {2, 5},
       [](const Index& i, int64_t) {
         return Index{i[0], 2 + 2 * i[1]};
       }},
      {"aten.slice.Tensor", {{"dim", 0}, {"start", 9}}, {2, 5}, same},
      {"aten.select.int",
       {{"dim", 1}, {"index", -2}},
       {2, 5, 3},
       [](const Index& i, int64_t) {
         return Index{i[0], 3, i[1]};
       }},
      {"aten.unbind.int",
       {{"dim", 1}},
       {2, 3},
       [](const Index& i, int64_t result) {
         return Index{i[0], result};
       }},
      {"aten.split_with_sizes",
       {{"split_sizes", Shape{1, 0, 4}}, {"dim", -1}},
       {2, 5},
       [](const Index& i, int64_t result) {
         return Index{i[0], i[1] + (result == 0 ? 0 : 1)};
       }},
      {"aten.split.Tensor",
       {{"split_size", 2}, {"dim", 1}},
       {2, 5},
       [](const Index& i, int64_t result) {
         return Index{i[0], i[1] + 2 * result};
       }},
      {"aten.diagonal",
       {{"offset", 1}, {"dim1", 0}, {"dim2", 2}},
       {3, 2, 4},
       [](const Index& i, int64_t) {
         return Index{i[1], i[0], i[1] + 1};
       }},
      {"aten.diagonal",
       {{"offset", -1}},
       {3, 4},
       [](const Index& i, int64_t) {
         return Index{i[0] + 1, i[0]};
       }},
      {"aten.unfold",
       {{"dimension", 0}, {"size", 3}, {"step", 2}},
       {7, 2},
       [](const Index& i, int64_t) {
         return Index{2 * i[0] + i[2], i[1]};
       }},
  };
}

class Views : public Calls {
 protected:
  // Whether every result is a view whose elements are those that the case says.
  bool lies_right(const ViewCase& c, const Layout& operand) {
    const ir::Node* node = call(c.op, {input(Shape(c.sizes.begin(), c.sizes.end()))}, c.attributes);
    for (size_t r = 0; r < node->results.size(); ++r) {
      const Index sizes = ir::to_integers(node->results[r]->shape());
      const auto view = node->op->view(*node, r, operand);
      if (!view) return false;
      EXPECT_EQ(view->sizes, sizes);
      for (int64_t position = 0; position < view->numel(); ++position) {
        const Index index = index_of(position, sizes);
        const Index source = c.source(index, static_cast<int64_t>(r));
        EXPECT_EQ(offset_of(*view, index), offset_of(operand, source)) << c.op;
      }
    }
    return true;
  }
};

TEST_F(Views, LieWhereTheirElementsAre) {
  for (const ViewCase& c : strided_views()) {
    for (const Layout& operand : layouts_of(c.sizes)) EXPECT_TRUE(lies_right(c, operand)) << c.op;
  }
}

TEST_F(Views, ReshapesLieWhereTheirElementsAreOrNeedACopy) {
  for (const ViewCase& c : reshapes()) {
    const std::vector<Layout> operands = layouts_of(c.sizes);
    EXPECT_TRUE(lies_right(c, operands[0])) << c.op;
    EXPECT_FALSE(lies_right(c, operands[1])) << c.op;
    lies_right(c, operands[2]);
    lies_right(c, operands[3]);
  }
}

TEST_F(Views, AsStridedCountsFromTheFirstElement) {
  const ir::Node* node =
      call("aten.as_strided", {input({3, 4})},
           {{"size", Shape{2, 3}}, {"stride", Shape{1, 4}}, {"storage_offset", 2}});
  Layout operand = Layout::contiguous({3, 4});
  operand.offset = 100;
  EXPECT_EQ(node->op->view(*node, 0, operand), (Layout{{2, 3}, {1, 4}, 102}));
  operand.strides = {1, 3};
  EXPECT_EQ(node->op->view(*node, 0, operand), std::nullopt);
}

TEST_F(Views, KnowSymbolicSizes) {
  EXPECT_EQ(shape("aten.view", {input({s0, 12})}, {{"size", Shape{-1, 4}}}), "(3*s0, 4)");
  EXPECT_EQ(shape("aten.view", {input({s0, s1, 12})}, {{"size", Shape{s0, s1, 3, -1}}}),
            "(s0, s1, 3, 4)");
  EXPECT_EQ(shape("aten.view", {input({2, s0})}, {{"size", Shape{2 * s0}}}), "(2*s0)");
  EXPECT_EQ(shape("aten.expand", {input({1, s0})}, {{"size", Shape{s1, -1}}}), "(s1, s0)");
  EXPECT_EQ(shape("aten.squeeze", {input({1, s0, 1})}), "(s0)");
  EXPECT_EQ(shape("aten.unfold", {input({s0})}, {{"dimension", 0}, {"size", 2}, {"step", 1}}),
            "(s0-1, 2)");
  const ir::Node* split =
      call("aten.split_with_sizes", {input({s0 + 3})}, {{"split_sizes", Shape{s0, 3}}});
  EXPECT_EQ(to_string(split->results[1]->shape()), "(3)");
}

TEST_F(Views, ClampSymbolicSlices) {
  const auto sliced = [this](const Dim& size, ir::Attribute start, ir::Attribute end,
                             int64_t step = 1) {
    return shape("aten.slice.Tensor", {input({size})},
                 {{"start", std::move(start)}, {"end", std::move(end)}, {"step", step}});
  };
  EXPECT_EQ(sliced(s0, {}, {}), "(s0)");
  EXPECT_EQ(sliced(s0, Dim(0), Dim(kEnd)), "(s0)");
  EXPECT_EQ(sliced(s0, Dim(-1), Dim(kEnd)), "(1)");
  EXPECT_EQ(sliced(s0, Dim(1), Dim(kEnd)), "(s0-1)");
  EXPECT_EQ(sliced(s0, Dim(0), Dim(-1)), "(s0-1)");
  EXPECT_EQ(sliced(s0 + 4, Dim(-4), {}), "(4)");
  EXPECT_EQ(sliced(s0 + s1, s0, {}), "(s1)");
  EXPECT_EQ(sliced(2 * s0, {}, {}, 2), "(floordiv(2*s0+1, 2))");
  EXPECT_EQ(sliced(s0, Dim(0), Dim(4)), "(min(4, s0))");
  EXPECT_EQ(sliced(8, Dim(0), s0), "(min(8, s0))");
}

// How many elements Python's slice takes of a dim.
int64_t slice_length(int64_t size, int64_t start, int64_t end, int64_t step) {
  if (start < 0) start = std::max<int64_t>(start + size, 0);
  if (end < 0) end += size;
  int64_t length = 0;
  for (int64_t i = start; i < std::min(end, size); i += step) ++length;
  return length;
}

TEST_F(Views, AgreeOnSlicesOnceSymbolsAreKnown) {
  for (const Dim& start : {Dim(-3), Dim(0), Dim(2), s1, s1 - 4, Dim(1) - s1}) {
    for (const Dim& end : {Dim(-1), Dim(3), Dim(kEnd), s1 - 2}) {
      for (int64_t step : {1, 3}) {
        const ir::Node* node = call("aten.slice.Tensor", {input({s0})},
                                    {{"start", start}, {"end", end}, {"step", step}});
        for (int64_t i = 0; i < 36; ++i) {
          const ir::Bindings bindings{{"s0", 1 + i % 6}, {"s1", 1 + i / 6}};
          EXPECT_EQ(node->results[0]->shape()[0].evaluate(bindings),
                    slice_length(1 + i % 6, start.evaluate(bindings), end.evaluate(bindings), step))
              << "[" << start.str() << ":" << end.str() << ":" << step << "]";
        }
      }
    }
  }
}

TEST_F(Views, RejectWhatCannotBe) {
  ir::Value* x = input({2, 3, 4});
  expect_rejected("aten.view", {x}, {{"size", Shape{5, 5}}}, "24 elements as in (2, 3, 4)");
  expect_rejected("aten.view", {x}, {{"size", Shape{5, -1}}}, "got (5, -1)");
  expect_rejected("aten.view", {x}, {{"size", Shape{-1, -1}}}, "at most one -1");
  expect_rejected("aten.view", {input({0})}, {{"size", Shape{0, -1}}}, "cannot work out -1");
  expect_rejected("aten.view", {input({s0})}, {{"size", Shape{s0 + 1}}}, "expected s0 elements");
  expect_rejected("aten.permute", {x}, {{"dims", Shape{0, 1}}}, "expected 3 dims, got 2");
  expect_rejected("aten.permute", {x}, {{"dims", Shape{0, 1, 1}}}, "distinct dims");
  expect_rejected("aten.permute", {x}, {{"dims", Shape{0, 1, 3}}}, "a dim in [-3, 2], got 3");
  expect_rejected("aten.t", {x}, {}, "at most 2 dims");
  expect_rejected("aten.expand", {x}, {{"size", Shape{3, 4}}}, "at least 3 sizes, got (3, 4)");
  expect_rejected("aten.expand", {x}, {{"size", Shape{-1, 2, 3, 4}}}, "new dim 0");
  expect_rejected("aten.expand", {x}, {{"size", Shape{2, 5, 4}}}, "to be 3, got 5");
  expect_rejected("aten.slice.Tensor", {x}, {{"step", 0}}, "step of at least 1, got 0");
  expect_rejected("aten.slice.Tensor", {input({})}, {}, "at least 1 dim");
  expect_rejected("aten.select.int", {x}, {{"dim", 1}, {"index", 3}}, "index in [-3, 3), got 3");
  expect_rejected("aten.select.int", {x}, {{"dim", 1}, {"index", -4}}, "got -4");
  expect_rejected("aten.split_with_sizes", {x}, {{"split_sizes", Shape{1, 2}}}, "to be 2, got 3");
  expect_rejected("aten.split_with_sizes", {x}, {{"split_sizes", Shape{-1, 3}}}, "at least 0");
  expect_rejected("aten.split.Tensor", {x}, {{"split_size", 0}}, "at least 1, got 0");
  expect_rejected("aten.diagonal", {x}, {{"dim1", 1}, {"dim2", -2}}, "two different dims");
  expect_rejected("aten.unfold", {x}, {{"dimension", 1}, {"size", 4}, {"step", 1}}, "[0, 3]");
  expect_rejected("aten.as_strided", {x}, {{"size", Shape{5, 5}}, {"stride", Shape{5, 1}}},
                  "the 24 of the operand, got one at 24");
  expect_rejected("aten.as_strided", {x}, {{"size", Shape{5}}, {"stride", Shape{-1}}},
                  "strides of at least 0");
}

}  // namespace
}  // namespace ostinato::ops
