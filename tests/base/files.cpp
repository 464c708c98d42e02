#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ostinato/base/atomic_file.h"
#include "ostinato/base/interrupt.h"
#include "ostinato/base/mapped_file.h"
#include "ostinato/base/new_folder.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace ostinato {
namespace {

size_t count_files(const std::filesystem::path& folder) {
  const std::filesystem::directory_iterator files(folder);
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

TEST(MappedFile, HoldsTheBytesBeyondTheFilesName) {
  const TemporaryFolder folder;
  const auto path = folder.file("a", "some bytes");
  const auto file = MappedFile::open(path);
  std::filesystem::remove(path);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file->data()), file->size()), "some bytes");
}

TEST(MappedFile, OfAnEmptyFileIsEmpty) {
  const TemporaryFolder folder;
  EXPECT_TRUE(MappedFile::open(folder.file("a", ""))->bytes().empty());
}

TEST(MappedFile, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  expect_error([&] { MappedFile::open(folder / "none"); }, ErrorCode::not_found,
               (folder / "none").string());
  expect_error([&] { MappedFile::open(folder.path()); }, ErrorCode::io, "folder");
  const auto pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  expect_error([&] { MappedFile::open(pipe); }, ErrorCode::io, "pipe");
}

TEST(AtomicFile, AppearsOnlyWithItsCommit) {
  const TemporaryFolder folder;
  const auto path = folder.file("report", "old");
  {
    AtomicFile file(path);
    file.write("new");
    EXPECT_EQ(contents_of(path), "old");
    file.commit();
    EXPECT_EQ(contents_of(path), "new");
  }
  { AtomicFile(path).write("abandoned"); }
  EXPECT_EQ(contents_of(path), "new");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(AtomicFile, FollowsALink) {
  const TemporaryFolder folder;
  folder.file("target", "old");
  std::filesystem::create_symlink("target", folder / "link");
  write_file(folder / "link", "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  EXPECT_EQ(contents_of(folder / "target"), "new");
}

TEST(AtomicFile, WritesADeviceInPlace) {
  write_file("/dev/null", "text");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  expect_error([] { write_file("/dev/full", "text"); }, ErrorCode::io, "No space left");
}

TEST(AtomicFile, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  expect_error([&] { write_file(folder / "none/file", ""); }, ErrorCode::io, "none/file");
  expect_error([&] { write_file(folder.path(), ""); }, ErrorCode::io, "directory");
  expect_error([&] { write_file("", ""); }, ErrorCode::io, "could not write");
}

// A limit on file sizes stands in for a full disk: both refuse a write in the middle.
TEST(AtomicFile, LeavesNothingWhenTheDiskRefuses) {
  const TemporaryFolder folder;
  const auto path = folder.file("report", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto ignored = ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error([&] { write_file(path, std::string(100000, 'x')); }, ErrorCode::io, path.string());
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, ignored);
  EXPECT_EQ(contents_of(path), "old");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(NewFolder, StaysOnlyWithItsCommit) {
  const TemporaryFolder folder;
  {
    NewFolder made(folder / "parent/new");
    write_file(made.file("a"), "text");
    EXPECT_TRUE(std::filesystem::exists(folder / "parent/new/a"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "parent/new"));
  NewFolder made(folder / "new/");
  write_file(made.file("a"), "text");
  made.commit();
  EXPECT_EQ(contents_of(folder / "new/a"), "text");
}

TEST(NewFolder, LeavesAnEmptyFolderThatWasThere) {
  const TemporaryFolder folder;
  {
    NewFolder made(folder.path());
    write_file(made.file("a"), "text");
    made.file("never written");
  }
  EXPECT_EQ(count_files(folder.path()), 0u);
}

TEST(NewFolder, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const auto file = folder.file("a", "mine");
  for (const auto& used : {file, folder.path()}) {
    expect_error([&] { NewFolder{used}; }, ErrorCode::invalid_argument, used.string());
  }
  expect_error([&] { NewFolder{file / "b"}; }, ErrorCode::io, "a/b");
  expect_error([] { NewFolder{"/proc/none"}; }, ErrorCode::io, "/proc/none");
  expect_error([] { NewFolder{""}; }, ErrorCode::io, "''");
  EXPECT_EQ(contents_of(file), "mine");
}

/// The exit code of a process that does this.
template <typename Action>
int exit_code_of(Action&& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    // Whoever runs the tests in the background may have had them ignore these.
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
    install_interrupt_handler();
    action();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int exit_code_after(int signal, const std::filesystem::path& path) {
  return exit_code_of([&] {
    AtomicFile finished(path);
    finished.commit();
    AtomicFile unfinished(path);
    unfinished.write("half");
    ::raise(signal);
  });
}

TEST(Interrupt, RemovesTemporariesAndEndsWith130) {
  const TemporaryFolder folder;
  EXPECT_EQ(exit_code_after(SIGINT, folder / "a"), 130);
  EXPECT_EQ(exit_code_after(SIGTERM, folder / "a"), 130);
  EXPECT_EQ(exit_code_after(SIGHUP, folder / "a"), 130);
  EXPECT_EQ(contents_of(folder / "a"), "");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(Interrupt, RemovesAFolderThatIsBeingFilled) {
  const TemporaryFolder folder;
  EXPECT_EQ(exit_code_of([&] {
              NewFolder finished(folder / "finished");
              write_file(finished.file("a"), "text");
              finished.commit();
              NewFolder made(folder / "new");
              write_file(made.file("a"), "text");
              AtomicFile half(made.file("b"));
              ::raise(SIGINT);
            }),
            130);
  EXPECT_EQ(contents_of(folder / "finished/a"), "text");
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(Interrupt, IsABadInputWhenAMappedFileIsCut) {
  const TemporaryFolder folder;
  const auto path = folder.file("weights", std::string(100000, 'x'));
  EXPECT_EQ(exit_code_of([&] {
              const auto file = MappedFile::open(path);
              AtomicFile half(folder / "out");
              std::filesystem::resize_file(path, 0);
              ::_exit(file->data()[50000]);
            }),
            2);
  EXPECT_EQ(count_files(folder.path()), 1u);
}

}  // namespace
}  // namespace ostinato
