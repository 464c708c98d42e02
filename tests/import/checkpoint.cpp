#include "ostinato/import/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "ostinato/base/float16.h"
#include "ostinato/import/safetensors_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::importer {
namespace {

Tensor filled(int64_t count, float value) {
  Tensor tensor = Tensor::empty(DType::float32, {count});
  std::fill_n(tensor.as<float>(), count, value);
  return tensor;
}

class ShardedCheckpoint : public testing::Test {
 protected:
  ShardedCheckpoint() {
    write_safetensors(folder_ / "one.safetensors", {{"a", filled(1, 1)}, {"b", filled(2, 2)}});
    write_safetensors(folder_ / "two.safetensors", {{"c", filled(3, 3)}});
  }

  void index(const std::string& weight_map) {
    folder_.file("model.safetensors.index.json", R"({"weight_map": )" + weight_map + "}");
  }

  void expect(ErrorCode code, const std::string& part) {
    expect_error([&] { Checkpoint::open(folder_.path()); }, code, part);
  }

  TemporaryFolder folder_;
};

TEST_F(ShardedCheckpoint, FindsEachTensorInItsShard) {
  index(R"({"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"})");
  const Checkpoint checkpoint = Checkpoint::open(folder_.path());
  EXPECT_EQ(checkpoint.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(checkpoint.get("b").as<float>()[1], 2.0f);
  EXPECT_EQ(checkpoint.get("c").as<float>()[2], 3.0f);
  EXPECT_EQ(checkpoint.info("c").shape, (std::vector<int64_t>{3}));
  EXPECT_EQ(checkpoint.file_of("c").name(), (folder_ / "two.safetensors").string());
  EXPECT_FALSE(checkpoint.contains("d"));
  expect_error([&] { checkpoint.get("d"); }, ErrorCode::not_found, "\"d\"");
}

TEST_F(ShardedCheckpoint, IsRandomWhenAnyShardSaysSo) {
  index(R"({"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"})");
  EXPECT_FALSE(Checkpoint::open(folder_.path()).is_random());
  write_safetensors(folder_ / "two.safetensors", {{"c", filled(3, 3)}}, {{"weights", "random"}});
  EXPECT_TRUE(Checkpoint::open(folder_.path()).is_random());
}

TEST_F(ShardedCheckpoint, SaysWhatIsMissing) {
  expect(ErrorCode::not_found, "model.safetensors or model.safetensors.index.json");
  folder_.file("pytorch_model.bin", "");
  expect(ErrorCode::not_found, "save_pretrained()");
  index(R"({"a": "one.safetensors", "b": "one.safetensors", "c": "three.safetensors"})");
  expect(ErrorCode::not_found, "three.safetensors");
  index(R"({"a": "one.safetensors", "b": "one.safetensors", "d": "two.safetensors"})");
  expect(ErrorCode::corrupt, "\"d\" in " + (folder_ / "two.safetensors").string());
  index(R"({"a": "one.safetensors", "c": "two.safetensors"})");
  expect(ErrorCode::corrupt, "\"b\"");
}

TEST_F(ShardedCheckpoint, RefusesABadIndex) {
  index("[]");
  expect(ErrorCode::corrupt, "weight_map");
  index("{\"a\": 1}");
  expect(ErrorCode::corrupt, "\"a\"");
  index("{\"a\": ");
  expect(ErrorCode::corrupt, "syntax error");
  folder_.file("model.safetensors.index.json", "[]");
  expect(ErrorCode::corrupt, "weight_map");
}

TEST_F(ShardedCheckpoint, ShardsStayInsideTheFolder) {
  std::filesystem::create_directory(folder_ / "inside");
  std::filesystem::rename(folder_ / "two.safetensors", folder_ / "inside/two.safetensors");
  index(R"({"a": "one.safetensors", "b": "one.safetensors", "c": "inside/two.safetensors"})");
  EXPECT_NO_THROW(Checkpoint::open(folder_.path()));
  for (const std::string outside :
       {"../two.safetensors", "inside/../../x", "/etc/passwd", "", ".."}) {
    index("{\"c\": \"" + outside + "\"}");
    expect(ErrorCode::corrupt, "\"" + outside + "\"");
  }
}

TEST(Checkpoint, OfOneFile) {
  const TemporaryFolder folder;
  write_safetensors(folder / "model.safetensors", {{"a", filled(1, 1)}});
  folder.file("model.safetensors.index.json", "not read");
  EXPECT_EQ(Checkpoint::open(folder.path()).get("a").as<float>()[0], 1.0f);
  folder.file("model.safetensors", "12345678");
  expect_error([&] { Checkpoint::open(folder.path()); }, ErrorCode::corrupt, "model.safetensors");
}

TEST(Checkpoint, NamesWhereWeightsAreNotFinite) {
  const TemporaryFolder folder;
  Tensor bad = filled(10000, 1.0f);
  bad.as<float>()[9001] = std::numeric_limits<float>::quiet_NaN();
  write_safetensors(folder / "model.safetensors", {{"bad", bad}, {"good", filled(10000, 3e38f)}});
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  EXPECT_NO_THROW(checkpoint.require_finite("good"));
  const uint64_t offset = checkpoint.file_of("bad").offset("bad") + 4 * 9001;
  expect_error([&] { checkpoint.require_finite("bad"); }, ErrorCode::corrupt,
               "\"bad\" at index 9001 (offset " + std::to_string(offset) + ")");
}

TEST(FindNonFinite, SeesEveryFloatingDType) {
  Tensor tensor = filled(5, -1.0f);
  EXPECT_EQ(find_non_finite(tensor), std::nullopt);
  EXPECT_EQ(find_non_finite(tensor.to(DType::float16)), std::nullopt);
  EXPECT_EQ(find_non_finite(tensor.to(DType::bfloat16)), std::nullopt);
  tensor.as<float>()[3] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(find_non_finite(tensor), 3);
  EXPECT_EQ(find_non_finite(tensor.to(DType::float16)), 3);
  EXPECT_EQ(find_non_finite(tensor.to(DType::bfloat16)), 3);
  EXPECT_EQ(find_non_finite(Tensor::empty(DType::float32, {0})), std::nullopt);
}

}  // namespace
}  // namespace ostinato::importer
