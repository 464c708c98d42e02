#include "ostinato/device/packed_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstring>

#include "ostinato/base/known_files.h"
#include "ostinato/base/memory.h"
#include "ostinato/device/cpu/kernels/panels.h"
#include "ostinato/device/device.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato::device {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr size_t kBytes = kHugePage + 12345;
constexpr size_t kNoLimit = size_t{1} << 40;

/// Some packed constant, another for each seed.
PackedCache::Item item_of(int seed) {
  const std::shared_ptr<void> data = allocate_packed(kBytes);
  auto* bytes = static_cast<uint8_t*>(data.get());
  for (size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<uint8_t>(i * 3 + i / 255 + seed);
  return {{{1, static_cast<uint64_t>(seed)}, "panels", kBytes}, data};
}

bool same(const std::shared_ptr<const void>& data, const PackedCache::Item& item) {
  return data != nullptr && std::memcmp(data.get(), item.data.get(), kBytes) == 0;
}

class PackedCaches : public testing::Test {
 protected:
  std::unique_ptr<PackedCache> open(size_t limit = kNoLimit) {
    return std::make_unique<PackedCache>(
        folder_, limit, [this](const std::string& text) { warnings_.push_back(text); });
  }
  void keep(const std::vector<PackedCache::Item>& items, size_t limit = kNoLimit) {
    open(limit)->keep(items);
  }
  std::shared_ptr<const void> find(const PackedCache::Item& item) {
    return open()->find(item.key, 2);
  }
  std::filesystem::path path_of(const PackedCache::Item& item) const {
    return folder_ / item.key.file_name();
  }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(folder_)) {
      names.push_back(file.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  const TemporaryFolder root_;
  std::filesystem::path folder_ = root_ / "cache/packed";
  std::vector<std::string> warnings_;
};

TEST_F(PackedCaches, GiveLaterProcessesTheSameBytes) {
  const auto item = item_of(1);
  EXPECT_EQ(find(item), nullptr);
  keep({item, item_of(2)});
  EXPECT_TRUE(same(find(item), item));
  EXPECT_EQ(find(item_of(3)), nullptr);
  auto other = item;
  other.key.format = "panels of another layout";
  EXPECT_EQ(find(other), nullptr);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(PackedCaches, ShareWithinAProcess) {
  const auto cache = open();
  const auto item = item_of(1);
  cache->keep({item});
  EXPECT_EQ(cache->find(item.key, 1), item.data);
  cache->finish();
  const auto later = open();
  const auto found = later->find(item.key, 1);
  EXPECT_TRUE(same(found, item));
  EXPECT_EQ(later->find(item.key, 1), found);
}

TEST_F(PackedCaches, PackAnewWhatIsDamaged) {
  const auto item = item_of(1);
  keep({item});
  const std::string good = contents_of(path_of(item));
  const auto damaged = [&](size_t at) {
    std::string bytes = good;
    bytes.at(at) ^= 1;
    return bytes;
  };
  keep({item_of(2)});
  const std::string other = contents_of(path_of(item_of(2)));
  for (const std::string& bytes :
       {std::string(), good.substr(0, 10), good.substr(0, kBytes), good + "x", damaged(0),
        damaged(kBytes / 2), damaged(kBytes - 1), damaged(kBytes), damaged(kBytes + 16),
        damaged(kBytes + 30), damaged(good.size() - 1), other, std::string(good.size(), '\0')}) {
    warnings_.clear();
    root_.file("cache/packed/" + item.key.file_name(), bytes);
    EXPECT_EQ(find(item), nullptr);
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr(path_of(item).string())));
    EXPECT_FALSE(std::filesystem::exists(path_of(item)));
    keep({item});
    EXPECT_EQ(contents_of(path_of(item)), good);
  }
}

TEST_F(PackedCaches, TrustNoFolderThatOthersWriteTo) {
  const auto item = item_of(1);
  keep({item});
  ::chmod(folder_.c_str(), 0777);
  const auto cache = open();
  EXPECT_EQ(cache->find(item.key, 1), nullptr);
  EXPECT_EQ(cache->find(item_of(2).key, 1), nullptr);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("this user's alone")));
}

TEST_F(PackedCaches, GoWithoutAFolder) {
  folder_ = "/proc/none/packed";
  EXPECT_EQ(find(item_of(1)), nullptr);
  keep({item_of(1), item_of(2)});
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("could not make the folder /proc/none/packed")));
}

// The same error as of a full disk, without one.
TEST_F(PackedCaches, LeaveNothingWhereWritingFails) {
  keep({item_of(1)});
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit lower{kBytes / 2, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &lower);
  keep({item_of(2), item_of(3)});
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("File too large")));
  EXPECT_THAT(files(), ElementsAre(item_of(1).key.file_name()));
}

TEST_F(PackedCaches, DropWhatWasUsedLongestAgo) {
  using std::chrono::hours;
  const auto now = std::filesystem::file_time_type::clock::now();
  keep({item_of(1), item_of(2), item_of(3)});
  for (int i = 1; i <= 3; ++i) {
    std::filesystem::last_write_time(path_of(item_of(i)), now - hours(i == 2 ? 9 : i));
  }
  root_.file("cache/packed/.ostinato-0.tmp", "of a process that was killed");
  std::filesystem::last_write_time(folder_ / ".ostinato-0.tmp", now - hours(2));
  EXPECT_TRUE(same(find(item_of(3)), item_of(3)));  // used now
  keep({item_of(4)}, 3 * (kBytes + 1000));
  EXPECT_EQ(find(item_of(2)), nullptr);
  keep({item_of(5)}, 3 * (kBytes + 1000));
  EXPECT_EQ(find(item_of(1)), nullptr);
  EXPECT_EQ(files().size(), 3u);
  EXPECT_THAT(warnings_, IsEmpty());
  // What the process itself uses makes no room.
  const auto cache = open(2 * (kBytes + 1000));
  cache->keep({item_of(6), item_of(7), item_of(8)});
  cache->finish();
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("OSTINATO_CACHE_SIZE")));
  EXPECT_EQ(files().size(), 2u);
}

TEST_F(PackedCaches, ServeWritersAndReadersAtOnce) {
  std::vector<PackedCache::Item> items;
  for (int i = 0; i < 6; ++i) items.push_back(item_of(i));
  std::vector<std::unique_ptr<PackedCache>> writers;
  for (int i = 0; i < 4; ++i) {
    writers.push_back(open());
    writers.back()->keep(items);
  }
  for (int round = 0; round < 10; ++round) {
    for (const auto& item : items) {
      const auto data = find(item);
      EXPECT_TRUE(data == nullptr || same(data, item));
    }
  }
  writers.clear();
  EXPECT_EQ(files().size(), items.size());
  for (const auto& item : items) EXPECT_TRUE(same(find(item), item));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(PackedCaches, AreAsLargeAsTheEnvironmentSays) {
  const auto open_with = [&](const char* size) {
    ::setenv("OSTINATO_CACHE_SIZE", size, 1);
    return PackedCache::open(root_.path(), nullptr);
  };
  EXPECT_EQ(open_with("0"), nullptr);
  EXPECT_NE(open_with("3"), nullptr);
  EXPECT_NE(open_with(""), nullptr);
  for (const char* wrong : {"-1", "16GB", "1.5", "x", "99999999999999999999"}) {
    expect_error([&] { open_with(wrong); }, ErrorCode::invalid_argument, wrong);
  }
  ::unsetenv("OSTINATO_CACHE_SIZE");
  EXPECT_EQ(PackedCache::open("", nullptr), nullptr);
}

TEST_F(PackedCaches, SavePackedWeightsTheirPacking) {
  const std::vector<uint8_t> constant(1000, 7);
  int made = 0;
  const auto get = [&](const std::vector<uint8_t>& elements, size_t bytes) {
    PackedWeights packed(open());
    const auto data = packed.get(elements, "panels", bytes, 2, [&] {
      ++made;
      return item_of(elements[0]).data;
    });
    packed.keep();
    return data;
  };
  EXPECT_TRUE(same(get(constant, kBytes), item_of(7)));
  EXPECT_TRUE(same(get(constant, kBytes), item_of(7)));
  EXPECT_EQ(made, 1);
  std::vector<uint8_t> changed = constant;
  changed[0] = 8;
  EXPECT_TRUE(same(get(changed, kBytes), item_of(8)));
  EXPECT_EQ(made, 2);
  get(constant, 1000);  // not worth a file
  EXPECT_EQ(made, 3);
  EXPECT_EQ(files().size(), 2u);
}

// Weights of an unchanged file are not read to find what was packed of them.
TEST_F(PackedCaches, BelieveWhatIsKnownOfFiles) {
  if (!KnownFiles::times_tell(root_.path())) GTEST_SKIP() << "of this file system's times";
  const auto file = MappedFile::open(root_.file("weights", std::string(1000, 7)));
  const auto pack = [&](const Digest& noted, bool own) {
    const auto make_known = [&] {
      return std::make_unique<KnownFiles>(
          root_ / "cache/known", [](const std::string& text) { ADD_FAILURE() << text; },
          std::chrono::seconds(0));
    };
    auto known = make_known();
    known->open(file);
    known->note(file->bytes(), noted);
    known->save();
    if (!own) {
      known = make_known();
      known->open(file);
    }
    PackedWeights packed(open());
    bool made = false;
    packed.get(file->bytes(), "panels", kBytes, 2, [&] {
      made = true;
      return item_of(7).data;
    });
    packed.keep();
    return made;
  };
  const Digest right = digest(file->bytes()), other{1, 2};
  EXPECT_TRUE(pack(right, true));
  EXPECT_FALSE(pack(right, true));
  EXPECT_FALSE(pack(right, false));
  EXPECT_EQ(files().size(), 1u);
  // A note that nothing is kept for sees the file read before anything is kept under it.
  EXPECT_FALSE(pack(other, false));
  EXPECT_EQ(files().size(), 1u);
  std::filesystem::remove(folder_ / files()[0]);
  EXPECT_TRUE(pack(other, false));
  const PackedCache::Key key{right, "panels", kBytes};
  EXPECT_THAT(files(), ElementsAre(key.file_name()));
  EXPECT_THAT(warnings_, IsEmpty());
}

// Panels are on disk: what changes their layout must raise `kPanelLayout`.
TEST(PackedPanels, LieAsTheirVersionSays) {
  std::string digests;
  for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
    std::vector<uint8_t> matrix(7 * 70 * size_of(dtype));
    for (size_t i = 0; i < matrix.size(); ++i) matrix[i] = static_cast<uint8_t>(i * 5 + i / 256);
    const auto element = static_cast<int64_t>(size_of(dtype));
    const cpu::TileKernel kernel = cpu::tile_kernel(dtype);
    PackedWeights packed;
    const auto panels =
        cpu::pack_constant(packed, kernel, {matrix.data(), element, 7 * element}, 7, 70, 2);
    digests += digest({static_cast<const uint8_t*>(panels.get()), packed.bytes()}).str() + " ";
  }
  EXPECT_EQ(cpu::kPanelLayout, 2);
  EXPECT_EQ(digests,
            "561b7ff7fc47be565ec358e805c28699 72e6c1cdae11885570c546dcae3a3b61 "
            "08b38f8869485d5350887f758a2b3b49 ");
}

}  // namespace
}  // namespace ostinato::device
