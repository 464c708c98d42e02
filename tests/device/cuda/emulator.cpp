#include "device/cuda/emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <cstdlib>
#include <map>
#include <memory>

namespace ostinato::emulator {

Index thread_index, block_index, block_size, grid_size;

namespace {

enum class State { fresh, runnable, at_warp, at_block, done };

/// Runs the threads of one block after the other. A fiber goes on with the next thread that has
/// not begun when its own is done, so that kernels without barriers need but one.
class Block {
 public:
  void run(const Kernel& kernel, unsigned threads, const void* operands, const void* params) {
    kernel_ = &kernel;
    operands_ = operands;
    params_ = params;
    states_.assign(threads, State::fresh);
    fiber_of_.assign(threads, nullptr);
    waited_.assign(threads, false);
    begun_ = 0;
    for (;;) {
      if (begun_ < threads) {
        resume(*idle_fiber());
        continue;
      }
      if (!release()) break;
      for (unsigned i = 0; i < threads; ++i) {
        if (states_[i] != State::runnable) continue;
        thread_index.x = i;
        resume(*fiber_of_[i]);
      }
    }
  }

  void wait(State state) {
    const unsigned self = thread_index.x;
    states_[self] = state;
    fiber_of_[self] = current_;
    leave(*current_);
    thread_index.x = self;
  }

  void note_wait() { waited_[thread_index.x] = true; }

  uint64_t slots[32 * 32] = {};

 private:
  static constexpr size_t kStackBytes = 128 << 10;
  /// Entered once by its context, and then by the place where it left, which needs no system call.
  struct Fiber {
    ucontext_t context{};
    jmp_buf place;
    bool entered = false;
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    bool idle = true;
  };

  Fiber* idle_fiber() {
    for (auto& fiber : fibers_) {
      if (fiber->idle) return fiber.get();
    }
    auto fiber = std::make_unique<Fiber>();
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack.get();
    fiber->context.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber->context, reinterpret_cast<void (*)()>(&Block::work), 0);
    fibers_.push_back(std::move(fiber));
    return fibers_.back().get();
  }

  void resume(Fiber& fiber) {
    current_ = &fiber;
    fiber.idle = false;
    if (_setjmp(scheduler_) != 0) return;
    if (fiber.entered) _longjmp(fiber.place, 1);
    fiber.entered = true;
    setcontext(&fiber.context);
  }

  void leave(Fiber& fiber) {
    if (_setjmp(fiber.place) == 0) _longjmp(scheduler_, 1);
  }

  static void work();

  void take_threads() {
    for (;;) {
      while (begun_ < states_.size()) {
        thread_index.x = begun_++;
        states_[thread_index.x] = State::runnable;
        kernel_->run(operands_, params_);
        if (!waited_[thread_index.x]) std::abort();  // the kernels after it could come too early
        states_[thread_index.x] = State::done;
      }
      current_->idle = true;
      leave(*current_);
    }
  }

  /// Lets warps whose lanes all wait for each other go on, or else the block; false when all is
  /// done. Threads that wait for what can never come end the process.
  bool release() {
    bool any = false, unfinished = false, all_at_block = true;
    for (size_t warp = 0; warp < states_.size(); warp += 32) {
      const size_t end = std::min(warp + 32, states_.size());
      bool waits = false, whole = true;
      for (size_t i = warp; i < end; ++i) {
        unfinished = unfinished || states_[i] != State::done;
        waits = waits || states_[i] == State::at_warp;
        whole = whole && (states_[i] == State::at_warp || states_[i] == State::done);
        all_at_block = all_at_block && (states_[i] == State::at_block || states_[i] == State::done);
      }
      if (!waits || !whole) continue;
      set(State::at_warp, warp, end);
      any = true;
    }
    if (!any && unfinished) {
      if (!all_at_block) std::abort();
      set(State::at_block, 0, states_.size());
    }
    return unfinished;
  }

  void set(State from, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      if (states_[i] == from) states_[i] = State::runnable;
    }
  }

  const Kernel* kernel_ = nullptr;
  const void *operands_ = nullptr, *params_ = nullptr;
  std::vector<State> states_;
  std::vector<bool> waited_;
  std::vector<Fiber*> fiber_of_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  Fiber* current_ = nullptr;
  unsigned begun_ = 0;
  jmp_buf scheduler_;
};

Block& block() {
  static auto* const instance = new Block;
  return *instance;
}

void Block::work() { block().take_threads(); }

std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> table;
  return table;
}

}  // namespace

void wait_for_block() { block().wait(State::at_block); }
void wait_for_warp() { block().wait(State::at_warp); }
void note_wait() { block().note_wait(); }
uint64_t* lane_slots() { return block().slots + thread_index.x / 32 * 32; }

const Kernel* find(const std::string& name) {
  const auto found = kernels().find(name);
  return found == kernels().end() ? nullptr : &found->second;
}

bool add(const std::string& name, Kernel kernel) {
  return kernels().emplace(name, std::move(kernel)).second;
}

void launch(const Kernel& kernel, Index grid, unsigned threads, const void* operands,
            const void* params) {
  grid_size = grid;
  block_size = {threads, 1, 1};
  thread_index = {};
  for (block_index.z = 0; block_index.z < grid.z; ++block_index.z) {
    for (block_index.y = 0; block_index.y < grid.y; ++block_index.y) {
      for (block_index.x = 0; block_index.x < grid.x; ++block_index.x) {
        block().run(kernel, threads, operands, params);
      }
    }
  }
}

}  // namespace ostinato::emulator
