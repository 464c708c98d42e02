#include "ostinato/base/known_files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <thread>

#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kContents = "0123456789abcdef";
constexpr Digest kSome{1, 2}, kOther{3, 4};

class KnownFile : public testing::Test {
 protected:
  void SetUp() override {
    if (!KnownFiles::times_tell(folder_.path())) GTEST_SKIP() << "of this file system's times";
    ::chmod(folder_.path().c_str(), 0700);
  }

  KnownFiles known(std::chrono::nanoseconds settled = 0s) {
    return {folder_ / "cache/known", [this](const std::string& text) { warnings_.push_back(text); },
            settled};
  }

  /// As a process that has read the file does.
  void remember() {
    KnownFiles files = known();
    const auto file = MappedFile::open(path_);
    files.open(file);
    files.note(file->bytes().first(8), kSome);
    files.note(file->bytes().subspan(8), kOther);
    files.save();
  }

  /// What a later process finds of the first half.
  std::optional<Digest> recall(std::chrono::nanoseconds settled = 0s) {
    KnownFiles files = known(settled);
    const auto file = MappedFile::open(path_);
    files.open(file);
    const auto note = files.find(file->bytes().first(8));
    if (!note) return std::nullopt;
    EXPECT_FALSE(note->own);
    return note->digest;
  }

  /// Other contents of the same size, and the time of the last write as it was.
  void change() const {
    struct stat before {};
    ::stat(path_.c_str(), &before);
    std::this_thread::sleep_for(20ms);  // older kernels count in ticks
    std::ofstream(path_, std::ios::binary | std::ios::in) << "9876";
    const timespec times[] = {before.st_atim, before.st_mtim};
    ::utimensat(AT_FDCWD, path_.c_str(), times, 0);
  }

  std::vector<std::filesystem::path> notes() const {
    std::vector<std::filesystem::path> found;
    std::error_code none;
    for (const auto& file : std::filesystem::directory_iterator(folder_ / "cache/known", none)) {
      found.push_back(file.path());
    }
    return found;
  }

  const TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_.file("weights", kContents);
  std::vector<std::string> warnings_;
};

TEST_F(KnownFile, IsKnownToLaterProcesses) {
  EXPECT_FALSE(recall());
  remember();
  EXPECT_EQ(recall(), kSome);
  KnownFiles files = known();
  const auto file = MappedFile::open(path_);
  EXPECT_FALSE(files.covers(file->bytes()));
  files.open(file);
  EXPECT_TRUE(files.covers(file->bytes()));
  EXPECT_EQ(files.find(file->bytes().subspan(8))->digest, kOther);
  EXPECT_EQ(KnownFiles::find_any(file->bytes().subspan(8))->digest, kOther);
  EXPECT_FALSE(files.find(file->bytes()));
  EXPECT_FALSE(files.find(file->bytes().subspan(1, 8)));
  const std::vector<uint8_t> elsewhere(8);
  EXPECT_FALSE(files.find(elsewhere));
  EXPECT_FALSE(KnownFiles::find_any(elsewhere));
  files.note(elsewhere, kSome);
  EXPECT_FALSE(files.find(elsewhere));
  files.note(file->bytes(), kSome);
  EXPECT_TRUE(files.find(file->bytes())->own);
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(KnownFile, IsKnownUnderAnotherNameToo) {
  remember();
  std::filesystem::create_directory(folder_ / "model");
  std::filesystem::create_hard_link(path_, folder_ / "model/weights");  // changes the file's times
  remember();
  KnownFiles files = known();
  const auto file = MappedFile::open(folder_ / "model/weights");
  files.open(file);
  EXPECT_EQ(files.find(file->bytes().first(8))->digest, kSome);
}

TEST_F(KnownFile, IsUnknownOnceItChanged) {
  remember();
  KnownFiles files = known();
  const auto file = MappedFile::open(path_);
  files.open(file);
  change();
  EXPECT_FALSE(recall());
  EXPECT_FALSE(files.find(file->bytes().first(8)));  // and to who had it open

  remember();
  const auto other = folder_.file("other", kContents);
  std::filesystem::last_write_time(other, std::filesystem::last_write_time(path_));
  std::filesystem::rename(other, path_);
  EXPECT_FALSE(recall());

  remember();
  std::ofstream(path_, std::ios::binary | std::ios::app) << "more";
  EXPECT_FALSE(recall());
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(KnownFile, IsNotNotedWhenItChangesMeanwhile) {
  KnownFiles files = known();
  const auto file = MappedFile::open(path_);
  files.open(file);
  change();
  files.note(file->bytes(), kSome);
  files.save();
  EXPECT_THAT(notes(), IsEmpty());
}

TEST_F(KnownFile, MustHaveSettled) {
  remember();
  EXPECT_EQ(recall(), kSome);
  EXPECT_FALSE(recall(1min));
  std::filesystem::last_write_time(path_, std::filesystem::file_time_type::clock::now() + 1h);
  remember();
  EXPECT_FALSE(recall());
}

TEST_F(KnownFile, IsReadAnewWhereTheNoteIsDamaged) {
  remember();
  const auto path = notes().at(0);
  const std::string good = contents_of(path);
  std::vector<std::string> bad = {"", good.substr(0, 20), good.substr(0, good.size() - 1),
                                  good + "x"};
  for (size_t at = 0; at < good.size(); at += 7) {
    bad.push_back(good);
    bad.back()[at] ^= 1;
  }
  for (const std::string& bytes : bad) {
    warnings_.clear();
    std::ofstream(path, std::ios::binary) << bytes;
    EXPECT_FALSE(recall());
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr(path.string())));
    EXPECT_THAT(notes(), IsEmpty());
  }
  remember();
  EXPECT_EQ(recall(), kSome);
}

TEST_F(KnownFile, IsUnknownToAFolderThatOthersWriteTo) {
  remember();
  ::chmod((folder_ / "cache/known").c_str(), 0777);
  EXPECT_FALSE(recall());
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("this user's alone")));
}

TEST_F(KnownFile, DoesWithoutAFolder) {
  folder_.file("cache", "a file");
  remember();
  EXPECT_FALSE(recall());
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(KnownFile, LeavesNoNotesForEver) {
  std::filesystem::create_directories(folder_ / "cache/known");
  const auto old = std::filesystem::file_time_type::clock::now() - 24h;
  for (int i = 0; i < 1100; ++i) {
    const auto note = folder_.file("cache/known/" + std::to_string(i), "");
    std::filesystem::last_write_time(note, old - std::chrono::seconds(i));
  }
  remember();
  EXPECT_EQ(notes().size(), 1000u);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "cache/known/0"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "cache/known/1099"));
  EXPECT_EQ(recall(), kSome);
}

}  // namespace
}  // namespace ostinato
