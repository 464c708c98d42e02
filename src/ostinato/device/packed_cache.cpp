#include "ostinato/device/packed_cache.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "ostinato/base/atomic_file.h"
#include "ostinato/base/error.h"
#include "ostinato/base/mapped_file.h"
#include "ostinato/base/memory.h"
#include "ostinato/base/own_folder.h"
#include "ostinato/base/threads.h"

namespace ostinato::device {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kStage = "cache/packed";
constexpr std::string_view kSizeVariable = "OSTINATO_CACHE_SIZE";
constexpr std::string_view kTemporary = ".ostinato-";  // of `AtomicFile`

/// Behind the packed bytes, which begin where the file does so that its huge pages are theirs.
struct Trailer {
  std::array<char, 16> magic{"ostinato.packed"};
  uint64_t version = 1;  ///< of this struct and of `digest`
  uint64_t bytes = 0;    ///< before it
  Digest constant, format, content;

  bool operator==(const Trailer&) const = default;
};
static_assert(std::has_unique_object_representations_v<Trailer>);

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Trailer trailer_of(const PackedCache::Key& key, const Digest& content) {
  Trailer trailer;
  trailer.bytes = key.bytes;
  trailer.constant = key.constant;
  trailer.format = digest(bytes_of(key.format));
  trailer.content = content;
  return trailer;
}

/// Whether a fresh mapping lies in huge pages, which the file system decides: a fault maps one of
/// those at once, and at most 64 KiB of small ones.
bool maps_huge_pages(std::span<const uint8_t> bytes) {
  constexpr size_t kMostMapped = size_t{64} << 10;
  const size_t whole = bytes.size() / kHugePage * kHugePage;
  const auto faults = [] {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return static_cast<size_t>(usage.ru_minflt + usage.ru_majflt);
  };
  const size_t before = faults();
  for (size_t at = 0; at < whole; at += kMostMapped) {
    static_cast<void>(*static_cast<const volatile uint8_t*>(bytes.data() + at));
  }
  return faults() - before <= 2 * (whole / kHugePage);
}

std::shared_ptr<const void> copied(std::span<const uint8_t> bytes, int threads) {
  constexpr int64_t kGrain = kHugePage;  // a huge page is cleared by the thread that fills it
  std::shared_ptr<void> memory = allocate_packed(bytes.size());
  ThreadTeam team(threads);
  team.run([&](Worker worker) {
    const Range range = part_of(static_cast<int64_t>(bytes.size()), worker, kGrain);
    if (range.begin == range.end) return;
    std::memcpy(static_cast<uint8_t*>(memory.get()) + range.begin, bytes.data() + range.begin,
                static_cast<size_t>(range.end - range.begin));
  });
  return memory;
}

}  // namespace

std::string PackedCache::Key::file_name() const {
  return fmt::format("{}-{}", constant.str(), digest(bytes_of(format)).str());
}

/// What the folder has, and how much more it may take.
class PackedCache::Room {
 public:
  Room(fs::path folder, size_t limit) : folder_(std::move(folder)), limit_(limit) {
    std::error_code end, error;
    for (fs::directory_iterator file(folder_, end); !end && file != fs::directory_iterator();
         file.increment(end)) {
      const std::string name = file->path().filename().string();
      const auto size = file->file_size(error);
      if (error) continue;  // another process has removed it
      const auto used = file->last_write_time(error);
      if (error) continue;
      if (!name.starts_with(kTemporary)) {
        files_.push_back({name, size, used});
        total_ += size;
      } else if (fs::file_time_type::clock::now() - used > std::chrono::hours(1)) {
        fs::remove(file->path(), error);  // of a process that was killed
      }
    }
    std::sort(files_.begin(), files_.end(),
              [](const File& a, const File& b) { return a.used > b.used; });
  }

  /// Removes what was used longest ago and is not spared. Throws `io` where that is not enough.
  template <typename Spare>
  void make(size_t bytes, const Spare& spare) {
    const std::scoped_lock lock(mutex_);
    constexpr size_t kReserve = size_t{1} << 30;  // a full disk is nobody's friend
    const auto fits = [&] {
      std::error_code error;
      const auto space = fs::space(folder_, error);
      return total_ + bytes <= limit_ && (error || space.available >= bytes + kReserve);
    };
    while (!fits()) {
      const auto last = std::find_if(files_.rbegin(), files_.rend(),
                                     [&](const File& f) { return !spare(f.name); });
      if (last == files_.rend()) {
        fail(ErrorCode::io, kStage,
             fmt::format("Free space on that disk, or set {} to more than {} (GB), or to 0 to keep "
                         "nothing.",
                         kSizeVariable, limit_ / 1'000'000'000),
             "no room for {} more of packed weights in {}", human_bytes(bytes), folder_.string());
      }
      std::error_code ignored;
      fs::remove(folder_ / last->name, ignored);
      total_ -= last->size;
      files_.erase(std::next(last).base());
    }
    total_ += bytes;
  }

 private:
  struct File {
    std::string name;
    size_t size;
    fs::file_time_type used;
  };

  fs::path folder_;
  size_t limit_;
  std::mutex mutex_;
  std::vector<File> files_;  // the one used last first
  size_t total_ = 0;
};

fs::path PackedCache::default_root() {
  const auto given = [](const char* variable) {
    const char* value = std::getenv(variable);
    return fs::path(value == nullptr ? "" : value);
  };
  if (fs::path root = given("OSTINATO_CACHE_DIR"); !root.empty()) return root;
  if (fs::path caches = given("XDG_CACHE_HOME"); !caches.empty()) return caches / "ostinato";
  const fs::path home = given("HOME");
  return home.empty() ? home : home / ".cache" / "ostinato";
}

std::shared_ptr<PackedCache> PackedCache::open(const fs::path& root, Warn warn) {
  constexpr size_t kGigabyte = 1'000'000'000, kMost = 1'000'000;
  size_t gigabytes = 16;
  if (const char* text = std::getenv(kSizeVariable.data()); text != nullptr && *text != '\0') {
    const char* end = text + std::strlen(text);
    const auto [stop, error] = std::from_chars(text, end, gigabytes);
    if (error != std::errc() || stop != end || gigabytes > kMost) {
      fail(ErrorCode::invalid_argument, kStage,
           fmt::format("Set {} to gigabytes, or to 0 to keep nothing.", kSizeVariable),
           "expected a whole number up to {} in {}, got '{}'", kMost, kSizeVariable, text);
    }
  }
  if (gigabytes == 0 || root.empty()) return nullptr;
  return std::make_shared<PackedCache>(fs::absolute(root) / "packed", gigabytes * kGigabyte,
                                       std::move(warn));
}

PackedCache::PackedCache(fs::path folder, size_t limit, Warn warn)
    : folder_(std::move(folder)), limit_(limit), warn_(std::move(warn)) {}

PackedCache::~PackedCache() { finish(); }

std::shared_ptr<const void> PackedCache::find(const Key& key, int threads) {
  const std::scoped_lock lock(mutex_);
  std::weak_ptr<const void>& known = used_[key.file_name()];
  std::shared_ptr<const void> data = known.lock();
  if (data != nullptr || !usable_) return data;
  try {
    require_own_folder(folder_, kStage);
    data = load(key, threads);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::not_found) return nullptr;
    usable_ = error.code() == ErrorCode::corrupt;
    warn_(error.what());
  }
  known = data;
  return data;
}

std::shared_ptr<const void> PackedCache::load(const Key& key, int threads) {
  const fs::path path = folder_ / key.file_name();
  const auto file = MappedFile::open(path);
  std::error_code ignored;
  const auto refuse = [&](std::string_view what) {
    fs::remove(path, ignored);
    fail(ErrorCode::corrupt, kStage, "These weights are packed anew.", "{} is {}", path.string(),
         what);
  };
  if (file->size() != key.bytes + sizeof(Trailer)) refuse("cut or of another kind");
  const auto packed = file->bytes().first(key.bytes);
  // A wish, as the file may not be in memory yet: then it comes in huge pages.
  ::madvise(const_cast<uint8_t*>(file->data()), file->size(), MADV_HUGEPAGE);
  const bool huge = maps_huge_pages(packed);
  Trailer found;
  std::memcpy(&found, packed.data() + packed.size(), sizeof(found));
  Trailer expected = trailer_of(key, found.content);
  if (found != expected) refuse("of another version or kind");
  if (digest(packed, threads) != found.content) refuse("damaged");
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  if (!huge) return copied(packed, threads);
  return {file, file->data()};
}

void PackedCache::keep(std::vector<Item> items) {
  const std::scoped_lock lock(mutex_);
  if (!usable_) return;
  for (Item& item : items) {
    used_[item.key.file_name()] = item.data;
    queue_.push_back(std::move(item));
  }
  if (writing_) return;
  if (writer_.joinable()) writer_.join();  // it has nothing more to do
  writing_ = true;
  writer_ = std::thread([this] {
    constexpr int kLowest = 19;
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kLowest);  // of this thread
    write_queue(true, {});
    const std::scoped_lock ended(mutex_);
    writing_ = false;
    writer_ended_.notify_all();
  });
}

/// Of the queue; nothing when that is empty, or left to who finishes.
/// @param behind the caller is the writer's thread
std::optional<PackedCache::Item> PackedCache::next(bool behind) {
  const std::scoped_lock lock(mutex_);
  if (queue_.empty() || (behind && finishing_)) return std::nullopt;
  Item item = std::move(queue_.front());
  queue_.pop_front();
  return item;
}

void PackedCache::write_queue(bool behind, const Progress& progress) {
  const auto give_up = [this](const std::exception& error) {
    const std::scoped_lock lock(mutex_);
    if (failure_.empty()) failure_ = error.what();
    usable_ = false;
    queue_.clear();
  };
  try {
    make_own_folder(folder_, kStage);
    Room room(folder_, limit_);
    const auto work = [&](bool shows) {
      try {
        while (const auto item = next(behind)) {
          if (shows && progress) progress("keeping packed weights for later starts", 0);
          write(*item, room);
        }
      } catch (const std::exception& error) {
        give_up(error);
      }
    };
    // To copy into the kernel's memory takes a core, and at the end all of them are idle.
    constexpr int kMostThreads = 8;
    const int threads = behind ? 1 : std::min(default_threads(), kMostThreads);
    std::vector<std::thread> helpers;
    try {
      while (static_cast<int>(helpers.size()) + 1 < threads) helpers.emplace_back(work, false);
    } catch (const std::system_error&) {
      // Those that there are do it.
    }
    work(true);
    for (std::thread& helper : helpers) helper.join();
  } catch (const std::exception& error) {
    give_up(error);
  }
}

void PackedCache::write(const Item& item, Room& room) {
  const fs::path path = folder_ / item.key.file_name();
  std::error_code ignored;
  if (fs::exists(path, ignored)) return;  // another process was faster
  room.make(item.key.bytes + sizeof(Trailer), [this](const std::string& name) {
    const std::scoped_lock lock(mutex_);
    return used_.contains(name);
  });
  const std::span<const uint8_t> packed(static_cast<const uint8_t*>(item.data.get()),
                                        item.key.bytes);
  const Trailer trailer = trailer_of(item.key, digest(packed));
  AtomicFile file(path, Flush::later);
  file.write(packed.data(), packed.size());
  file.write(&trailer, sizeof(trailer));
  file.commit();
}

void PackedCache::finish(const Progress& progress) {
  std::unique_lock lock(mutex_);
  finishing_ = true;  // on a busy machine the writer could take for ever
  writer_ended_.wait(lock, [this] { return !writing_; });
  if (writer_.joinable()) writer_.join();
  if (!queue_.empty()) {
    lock.unlock();
    write_queue(false, progress);
    if (progress) progress("keeping packed weights for later starts", 1);
    lock.lock();
  }
  finishing_ = false;
  if (!failure_.empty()) warn_(std::exchange(failure_, {}));
}

}  // namespace ostinato::device
