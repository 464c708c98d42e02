#include "ostinato/import/new_model.h"

#include <gtest/gtest.h>

#include "ostinato/import/model.h"
#include "ostinato/import/safetensors_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::importer {
namespace {

TEST(NewModel, SaysThatItsWeightsAreRandom) {
  const TemporaryFolder folder;
  const auto path = folder / "model";
  new_model(preset("bert-base", true), "bert", path, {.seed = 7});
  const Model model = Model::load(path);
  EXPECT_EQ(model.weight_source(), WeightSource::random);
  const auto metadata = SafetensorsFile::open(path / "model.safetensors").metadata();
  EXPECT_EQ(metadata.at("weights"), "random");
  EXPECT_EQ(metadata.at("seed"), "7");
  EXPECT_EQ(metadata.at("format"), "pt");  // without which transformers does not load them

  const std::vector<std::pair<std::string, Tensor>> weights(model.weights().begin(),
                                                            model.weights().end());
  write_safetensors(path / "model.safetensors", weights);
  EXPECT_EQ(Model::load(path).weight_source(), WeightSource::pretrained);
  EXPECT_EQ(Model::load(path, {.weights = WeightSource::random}).weight_source(),
            WeightSource::random);
  write_safetensors(path / "model.safetensors", weights, {{"weights", "averaged"}});
  EXPECT_EQ(Model::load(path).weight_source(), WeightSource::pretrained);
}

TEST(NewModel, LeavesNothingBehindAnError) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "tokenizer/vocab.txt");
  folder.file("tokenizer/tokenizer.json", "{}");
  expect_error(
      [&] {
        new_model(preset("bert-base", true), "bert", folder / "model",
                  {.tokenizer = folder / "tokenizer"});
      },
      ErrorCode::io, "vocab.txt");
  EXPECT_FALSE(std::filesystem::exists(folder / "model"));
  Json config = preset("bert-base", true).config;
  config["hidden_size"] = 0;
  expect_error(
      [&] {
        new_model({config, nullptr}, "bert", folder / "model", {});
      },
      ErrorCode::invalid_argument, "hidden_size");
  EXPECT_FALSE(std::filesystem::exists(folder / "model"));
}

}  // namespace
}  // namespace ostinato::importer
