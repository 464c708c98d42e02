#include "ostinato/runtime/source.h"

#include "ostinato/import/safetensors_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::runtime {
namespace {

constexpr std::string_view kGraph =
    "ostinato.graph 1 \"g\"\n"
    "constant %0 \"w\" : float32(2)\n"
    "output \"y\" %0\n";

TEST(Source, ReadsAGraphWithItsConstants) {
  const TemporaryFolder folder;
  const auto path = folder.file("g.graph", kGraph);
  importer::write_safetensors(folder / "g.safetensors",
                              {{"w", Tensor::empty(DType::float32, {2})}});
  const Source source = Source::open(path, {});
  EXPECT_EQ(source.family(), "graph");
  EXPECT_EQ(source.parameter_count(), 2);
  EXPECT_EQ(source.forward().outputs().size(), 1u);
}

TEST(Source, NamesTheFileOfEveryMistake) {
  const TemporaryFolder folder;
  const auto path = folder / "g.graph";
  const auto refused = [&](ErrorCode code, const std::string& part) {
    expect_error([&] { Source::open(path, {}); }, code, path.string());
    expect_error([&] { Source::open(path, {}); }, code, part);
  };
  refused(ErrorCode::not_found, "there is no model");
  folder.file("g.graph", "nonsense");
  refused(ErrorCode::corrupt, "line 1");
  folder.file("g.graph", kGraph);
  refused(ErrorCode::not_found, (folder / "g.safetensors").string());
  importer::write_safetensors(folder / "g.safetensors",
                              {{"w", Tensor::empty(DType::float32, {3})}});
  refused(ErrorCode::corrupt, "'w'");
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/dev/zero", path);
  refused(ErrorCode::io, "device");
}

}  // namespace
}  // namespace ostinato::runtime
