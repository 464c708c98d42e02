#include "ostinato/cache.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include "ostinato/session.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kSize = 1024;

/// One product, by a weight of 4 MiB.
Graph product() {
  Tensor w = Tensor::empty(DType::float32, {kSize, kSize});
  float value = 0;
  for (float& element : w.values<float>()) element = value = value > 1 ? -1 : value + 0.01f;
  GraphBuilder build("product");
  const Value x = build.input("x", DType::float32, {1, kSize});
  build.output("y", build.call("linear", {x, build.constant(w, "w"), Value(), Value()}));
  return build.build();
}

float first(const WeightCache& cache) {
  Tensor x = Tensor::empty(DType::float32, {1, kSize});
  for (float& element : x.values<float>()) element = 1;
  Session session(Program::compile(product(), {.threads = 1, .cache = cache}));
  return session.run({x})[0].values<float>()[0];
}

class Caches : public testing::Test {
 protected:
  WeightCache open(const std::filesystem::path& folder, std::optional<uint64_t> limit = {}) {
    return WeightCache::open(
        {folder, limit, [this](const std::string& warning) { warnings_.push_back(warning); }});
  }
  static size_t count(const std::filesystem::path& folder) {
    std::error_code none;
    const std::filesystem::directory_iterator files(folder / "packed", none);
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }

  const TemporaryFolder folder_;
  std::vector<std::string> warnings_;
};

TEST_F(Caches, KeepNothingUnlessAsked) {
  ::setenv("OSTINATO_CACHE_DIR", folder_.path().c_str(), 1);
  const WeightCache none;
  EXPECT_FALSE(none.keeps());
  none.finish();
  first(none);
  EXPECT_EQ(count(folder_.path()), 0u);
  EXPECT_FALSE(open(folder_.path(), 0).keeps());
  ::setenv("OSTINATO_CACHE_SIZE", "0", 1);
  EXPECT_FALSE(open(folder_.path()).keeps());
  ::setenv("OSTINATO_CACHE_SIZE", "much", 1);
  expect_error([&] { open(folder_.path()); }, ErrorCode::invalid_argument, "OSTINATO_CACHE_SIZE");
  ::unsetenv("OSTINATO_CACHE_SIZE");
  first(WeightCache::open());  // where the command has it
  EXPECT_EQ(count(folder_.path()), 1u);
  ::unsetenv("OSTINATO_CACHE_DIR");
}

TEST_F(Caches, GiveTheSameResults) {
  const float expected = first({});
  const WeightCache cache = open(folder_.path());
  EXPECT_TRUE(cache.keeps());
  EXPECT_EQ(first(cache), expected);
  cache.finish();
  EXPECT_EQ(count(folder_.path()), 1u);
  EXPECT_EQ(first(open(folder_.path())), expected);
  EXPECT_EQ(count(folder_.path()), 1u);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(Caches, WarnAndGoOn) {
  const float expected = first({});
  EXPECT_EQ(first(open(folder_ / "small", 1000)), expected);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("no room")));
  warnings_.clear();
  EXPECT_EQ(first(open(folder_.file("file", ""))), expected);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("could not make the folder")));
}

TEST_F(Caches, NeedAPlace) {
  const char* home = ::getenv("HOME");
  const std::string before = home == nullptr ? "" : home;
  const char* caches = ::getenv("XDG_CACHE_HOME");
  const std::string caches_before = caches == nullptr ? "" : caches;
  ::unsetenv("HOME");
  ::unsetenv("XDG_CACHE_HOME");
  expect_error([] { WeightCache::open(); }, ErrorCode::invalid_argument, "folder");
  if (home != nullptr) ::setenv("HOME", before.c_str(), 1);
  if (caches != nullptr) ::setenv("XDG_CACHE_HOME", caches_before.c_str(), 1);
}

}  // namespace
}  // namespace ostinato
