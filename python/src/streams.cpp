#include "streams.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "ostinato/base/error.h"

namespace ostinato::python {

namespace {

using Key = std::pair<device::Device*, int>;
using Streams = std::map<Key, std::shared_ptr<device::Stream>>;

struct Left {
  std::mutex mutex;
  std::vector<std::pair<Key, std::shared_ptr<device::Stream>>> streams;
};

// Never destroyed: threads may end after static objects have.
Left& left() {
  static Left* const instance = new Left;
  return *instance;
}

struct Own {
  Streams streams;
  ~Own() {
    const std::scoped_lock lock(left().mutex);
    for (auto& entry : streams) left().streams.emplace_back(entry.first, std::move(entry.second));
  }
};

std::shared_ptr<device::Stream> take_left(const Key& key) {
  const std::scoped_lock lock(left().mutex);
  auto& streams = left().streams;
  for (auto it = streams.begin(); it != streams.end(); ++it) {
    if (it->first != key) continue;
    std::shared_ptr<device::Stream> stream = std::move(it->second);
    streams.erase(it);
    return stream;
  }
  return nullptr;
}

thread_local std::vector<int> limits;  // each at most the one before

}  // namespace

void push_thread_limit(int threads) {
  limits.push_back(limits.empty() ? threads : std::min(threads, limits.back()));
}

void pop_thread_limit() {
  if (limits.empty()) {
    fail(ErrorCode::invalid_argument, "python/streams", "Leave only scopes that were entered.",
         "there is no limit of threads to take back");
  }
  limits.pop_back();
}

int limited_threads(int threads) {
  return limits.empty() ? threads : std::min(threads, limits.back());
}

std::shared_ptr<device::Stream> thread_stream(device::Device& device, int threads) {
  thread_local Own own;
  auto& stream = own.streams[{&device, threads}];
  if (stream == nullptr) stream = take_left({&device, threads});
  if (stream == nullptr) stream = device.make_stream(threads);
  return stream;
}

}  // namespace ostinato::python
