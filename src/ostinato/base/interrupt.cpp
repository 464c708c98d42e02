#include "ostinato/base/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <cstring>

#include "ostinato/base/error.h"

namespace ostinato {

namespace {

// A signal handler may neither lock nor allocate: the paths stand in slots of fixed size, and only
// an atomic state says who may touch one.
enum class SlotState { free, owned, armed };

struct Slot {
  std::atomic<SlotState> state = SlotState::free;
  std::array<char, PATH_MAX> path;
};
static_assert(std::atomic<SlotState>::is_always_lock_free);

constexpr size_t kSlots = 64;
std::array<Slot, kSlots> slots;
std::atomic<bool> on_terminal = false;

bool take(Slot& slot, SlotState from, SlotState to) {
  return slot.state.compare_exchange_strong(from, to);
}

void print_from_handler(std::string_view text) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), text.size());
}

/// Files first, so that their folders are empty then.
void remove_registered() {
  std::array<const char*, kSlots> folders{};
  for (size_t i = 0; i < kSlots; ++i) {
    if (!take(slots[i], SlotState::armed, SlotState::owned)) continue;
    if (::unlink(slots[i].path.data()) != 0) folders[i] = slots[i].path.data();
  }
  for (const char* folder : folders) {
    if (folder != nullptr) ::rmdir(folder);
  }
}

void handle_interrupt(int) {
  remove_registered();
  if (on_terminal) print_from_handler("\n");
  ::_exit(130);
}

void handle_bus_error(int) {
  remove_registered();
  print_from_handler(
      "ostinato: [file/read] expected a file to stay as it was while it is read, got one that was "
      "cut, or a disk that failed. Leave the model's files alone while it runs, and check the disk."
      "\n");
  ::_exit(2);
}

}  // namespace

void install_interrupt_handler() {
  on_terminal = ::isatty(STDERR_FILENO) == 1;
  struct sigaction action {};
  ::sigfillset(&action.sa_mask);
  action.sa_handler = handle_bus_error;
  ::sigaction(SIGBUS, &action, nullptr);
  action.sa_handler = handle_interrupt;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};
  ::sigaction(SIGHUP, nullptr, &hangup);
  if (hangup.sa_handler != SIG_IGN) ::sigaction(SIGHUP, &action, nullptr);
  action.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &action, nullptr);
}

InterruptCleanup::InterruptCleanup(const std::string& path) {
  if (path.size() >= PATH_MAX) {
    fail(ErrorCode::io, "file/write", "Use a shorter path.",
         "expected a path of less than {} bytes, got {}", PATH_MAX, path.size());
  }
  for (slot_ = 0; slot_ < kSlots; ++slot_) {
    Slot& slot = slots[slot_];
    if (!take(slot, SlotState::free, SlotState::owned)) continue;
    std::memcpy(slot.path.data(), path.c_str(), path.size() + 1);
    slot.state = SlotState::armed;
    return;
  }
  fail(ErrorCode::io, "file/write", "Write fewer files at a time.",
       "expected at most {} files being written at once", kSlots);
}

// Fails to take the slot only while the handler is about to end the process.
InterruptCleanup::~InterruptCleanup() { take(slots[slot_], SlotState::armed, SlotState::free); }

}  // namespace ostinato
