#include "ostinato/base/known_files.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <system_error>
#include <utility>

#include "ostinato/base/atomic_file.h"
#include "ostinato/base/error.h"
#include "ostinato/base/own_folder.h"

namespace ostinato {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kStage = "cache/known";

struct Header {
  std::array<char, 16> magic{"ostinato.known"};
  uint64_t version = 1;  ///< of this file, of `digest`, and of what is checked before a note
  FileStamp stamp;
  uint64_t parts = 0;
  Digest content;  ///< of all, with none here
};

struct Row {
  uint64_t begin, bytes;
  Digest digest;
};
static_assert(std::has_unique_object_representations_v<Header> &&
              std::has_unique_object_representations_v<Row>);

Digest digest_of(Header header, std::span<const uint8_t> rows) {
  header.content = {};
  std::vector<uint8_t> bytes(sizeof(header) + rows.size());
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::copy(rows.begin(), rows.end(), bytes.begin() + sizeof(header));
  return digest(bytes);
}

struct Living {
  std::mutex mutex;
  std::vector<const KnownFiles*> all;
};

/// Never destroyed: some live as long as the process.
Living& living() {
  static auto* const instance = new Living;
  return *instance;
}

}  // namespace

KnownFiles::KnownFiles(fs::path folder, Warn warn, std::chrono::nanoseconds settled)
    : folder_(std::move(folder)), warn_(std::move(warn)), settled_(settled) {
  const std::scoped_lock lock(living().mutex);
  living().all.push_back(this);
}

KnownFiles::~KnownFiles() {
  const std::scoped_lock lock(living().mutex);
  std::erase(living().all, this);
}

bool KnownFiles::times_tell(const fs::path& path) {
  struct statfs status {};
  if (::statfs(path.c_str(), &status) != 0) return false;
  constexpr std::array<int64_t, 4> kKnown = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
                                             F2FS_SUPER_MAGIC};
  return std::find(kKnown.begin(), kKnown.end(), int64_t{status.f_type}) != kKnown.end();
}

void KnownFiles::open(const std::shared_ptr<const MappedFile>& file) {
  const FileStamp& stamp = file->stamp();
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto latest = std::chrono::nanoseconds(std::max(stamp.written, stamp.changed));
  if (latest > now - settled_ || !times_tell(file->path())) return;
  File known{file, fs::absolute(file->path()), stamp, {}};
  try {
    require_own_folder(folder_, kStage);
    known.parts = read(stamp);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::not_found) warn_(error.what());
  }
  const std::scoped_lock lock(mutex_);
  std::erase_if(files_, [](const File& old) { return old.mapping.expired(); });
  files_.push_back(std::move(known));
}

std::pair<const KnownFiles::File*, uint64_t> KnownFiles::locate(const std::vector<File>& files,
                                                                std::span<const uint8_t> part) {
  for (const File& file : files) {
    const auto mapping = file.mapping.lock();
    if (mapping == nullptr) continue;  // other memory may lie there now
    const auto begin = reinterpret_cast<uintptr_t>(part.data()),
               start = reinterpret_cast<uintptr_t>(mapping->data());
    if (begin < start || begin - start > mapping->size()) continue;
    if (part.size() <= mapping->size() - (begin - start)) return {&file, begin - start};
  }
  return {nullptr, 0};
}

bool KnownFiles::covers(std::span<const uint8_t> part) const {
  const std::scoped_lock lock(mutex_);
  return locate(files_, part).first != nullptr;
}

std::optional<KnownFiles::Note> KnownFiles::find(std::span<const uint8_t> part) const {
  const std::scoped_lock lock(mutex_);
  const auto [file, begin] = locate(files_, part);
  if (file == nullptr) return std::nullopt;
  const auto found = file->parts.find(begin);
  if (found == file->parts.end() || found->second.bytes != part.size()) return std::nullopt;
  return stamp_of(file->path) == file->stamp ? std::optional(found->second.note) : std::nullopt;
}

std::optional<KnownFiles::Note> KnownFiles::find_any(std::span<const uint8_t> part) {
  const std::scoped_lock lock(living().mutex);
  for (const KnownFiles* known : living().all) {
    if (const auto note = known->find(part)) return note;
  }
  return std::nullopt;
}

void KnownFiles::note(std::span<const uint8_t> part, const Digest& digest) {
  const std::scoped_lock lock(mutex_);
  const auto [found, begin] = locate(files_, part);
  if (found == nullptr) return;
  File& file = files_[static_cast<size_t>(found - files_.data())];
  file.parts[begin] = {part.size(), {digest, true}};
  file.has_news = true;
}

void KnownFiles::save() {
  const std::scoped_lock lock(mutex_);
  try {
    for (File& file : files_) {
      if (!std::exchange(file.has_news, false)) continue;
      if (stamp_of(file.path) == file.stamp) write(file);
    }
  } catch (const Error&) {
    // Nothing is lost but the next start's time; who keeps more in that cache reports it.
  }
}

fs::path KnownFiles::path_of(const FileStamp& stamp) const {
  return folder_ / fmt::format("{:x}-{:x}", stamp.device, stamp.inode);
}

KnownFiles::Parts KnownFiles::read(const FileStamp& stamp) const {
  const fs::path path = path_of(stamp);
  const auto file = MappedFile::open(path);
  const auto damaged = [&path] {
    std::error_code ignored;
    fs::remove(path, ignored);
    fail(ErrorCode::corrupt, kStage, "The weights are read and checked anew.", "{} is damaged",
         path.string());
  };
  Header header;
  if (file->size() < sizeof(header)) damaged();
  std::memcpy(&header, file->data(), sizeof(header));
  const Header expected{};
  if (header.magic != expected.magic || header.version != expected.version) damaged();
  const auto rows = file->bytes().subspan(sizeof(header));
  if (rows.size() / sizeof(Row) != header.parts || rows.size() % sizeof(Row) != 0 ||
      digest_of(header, rows) != header.content) {
    damaged();
  }
  Parts parts;
  if (header.stamp != stamp) return parts;  // of what the file was before
  for (size_t at = 0; at < rows.size(); at += sizeof(Row)) {
    Row row;
    std::memcpy(&row, rows.data() + at, sizeof(row));
    parts[row.begin] = {row.bytes, {row.digest, false}};
  }
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  return parts;
}

void KnownFiles::write(const File& file) const {
  std::vector<Row> rows;
  for (const auto& [begin, part] : file.parts)
    rows.push_back({begin, part.bytes, part.note.digest});
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(rows.data()),
                                       rows.size() * sizeof(Row));
  Header header;
  header.stamp = file.stamp;
  header.parts = rows.size();
  header.content = digest_of(header, bytes);
  make_own_folder(folder_, kStage);
  require_own_folder(folder_, kStage);
  drop_old();
  AtomicFile target(path_of(file.stamp), Flush::later);
  target.write(&header, sizeof(header));
  target.write(bytes.data(), bytes.size());
  target.commit();
}

/// Of files that are gone, or were not used for long.
void KnownFiles::drop_old() const {
  constexpr size_t kMost = 1000;
  std::vector<std::pair<fs::file_time_type, fs::path>> notes;
  std::error_code end, error;
  for (fs::directory_iterator note(folder_, end); !end && note != fs::directory_iterator();
       note.increment(end)) {
    const auto used = note->last_write_time(error);
    if (!error) notes.emplace_back(used, note->path());
  }
  if (notes.size() < kMost) return;
  std::sort(notes.begin(), notes.end());
  for (size_t i = 0; i <= notes.size() - kMost; ++i) fs::remove(notes[i].second, error);
}

}  // namespace ostinato
