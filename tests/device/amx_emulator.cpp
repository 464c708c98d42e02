#include "device/amx_emulator.h"

#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>

namespace ostinato::cpu {

namespace {

constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;

struct TileRegister {
  uint8_t rows = 0;
  uint16_t row_bytes = 0;
  std::array<std::array<uint8_t, kRowBytes>, kRows> data{};
};

thread_local std::array<TileRegister, kTiles> registers;
thread_local bool configured = false;

// Only what a signal handler may call.
[[noreturn]] void refuse(std::string_view why) {
  constexpr std::string_view kHead = "an AMX instruction would fault: ";
  (void)!::write(STDERR_FILENO, kHead.data(), kHead.size());
  (void)!::write(STDERR_FILENO, why.data(), why.size());
  (void)!::write(STDERR_FILENO, "\n", 1);
  std::abort();
}

TileRegister& at(int tile) {
  if (!configured) refuse("tiles are not configured");
  if (tile >= kTiles) refuse("no such tile");
  TileRegister& found = registers[static_cast<size_t>(tile)];
  if (found.rows == 0 || found.row_bytes == 0) refuse("a tile without a shape");
  return found;
}

// The bits of a VEX prefix of three bytes, its opcode and its ModRM byte.
struct Instruction {
  int prefix, vvvv, opcode, mod, reg, rm;
  bool extend_index, extend_base;
  const uint8_t* rest;  // after ModRM
};

std::optional<Instruction> decode(const uint8_t* code) {
  if (code[0] != 0xc4 || (code[1] & 0x1f) != 2) return std::nullopt;  // the map 0F38
  if ((code[2] & 0x84) != 0) return std::nullopt;                     // W0, 128 bits
  const int modrm = code[4];
  const bool extend_reg = (code[1] & 0x80) == 0;
  return Instruction{code[2] & 3,
                     ~code[2] >> 3 & 15,
                     code[3],
                     modrm >> 6,
                     (modrm >> 3 & 7) + (extend_reg ? 8 : 0),
                     modrm & 7,
                     (code[1] & 0x40) == 0,
                     (code[1] & 0x20) == 0,
                     code + 5};
}

struct Address {
  uint8_t* base;
  int64_t stride;       // what the index register and the scale say
  const uint8_t* next;  // instruction
};

int64_t register_of(const ucontext_t& context, int number) {
  constexpr std::array<int, 16> kOrder = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                          REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                          REG_R12, REG_R13, REG_R14, REG_R15};
  return context.uc_mcontext.gregs[kOrder[static_cast<size_t>(number)]];
}

template <typename T>
T read(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

// The memory operand (SDM volume 2, tables 2-2 and 2-3). Without an index the stride is zero.
Address address_of(const Instruction& instruction, const ucontext_t& context) {
  const uint8_t* next = instruction.rest;
  int64_t base = 0, stride = 0;
  bool has_base = true;
  int base_number = instruction.rm + (instruction.extend_base ? 8 : 0);
  bool relative = false;
  if (instruction.rm == 4) {
    const int sib = *next++;
    base_number = (sib & 7) + (instruction.extend_base ? 8 : 0);
    has_base = !((sib & 7) == 5 && instruction.mod == 0);
    const int index = (sib >> 3 & 7) + (instruction.extend_index ? 8 : 0);
    if (index != 4) stride = register_of(context, index) << (sib >> 6);
  } else if (instruction.rm == 5 && instruction.mod == 0) {
    has_base = false;
    relative = true;
  }
  if (has_base) base = register_of(context, base_number);
  if (instruction.mod == 1) {
    base += read<int8_t>(next);
    next += 1;
  } else if (instruction.mod == 2 || !has_base) {
    base += read<int32_t>(next);
    next += 4;
  }
  if (relative) base += reinterpret_cast<int64_t>(next);
  return {reinterpret_cast<uint8_t*>(base), stride, next};
}

void load_config(const uint8_t* from) {
  if (from[0] != 1) refuse("ldtilecfg: palette 1 was expected");
  for (size_t i = 2; i < 16; ++i) {
    if (from[i] != 0) refuse("ldtilecfg: a reserved byte is not zero");
  }
  for (size_t t = 0; t < 16; ++t) {
    const auto row_bytes = read<uint16_t>(from + 16 + 2 * t);
    const uint8_t rows = from[48 + t];
    if (t >= kTiles && (rows != 0 || row_bytes != 0)) refuse("ldtilecfg: no such tile");
    if (rows > kRows || row_bytes > kRowBytes) refuse("ldtilecfg: a tile is too large");
    if ((rows == 0) != (row_bytes == 0)) refuse("ldtilecfg: rows without columns, or the reverse");
    if (t < kTiles) registers[t] = TileRegister{rows, row_bytes, {}};
  }
  configured = true;
}

void load(TileRegister& tile, const Address& from) {
  tile.data = {};
  for (int64_t r = 0; r < tile.rows; ++r) {
    std::memcpy(tile.data[static_cast<size_t>(r)].data(), from.base + r * from.stride,
                tile.row_bytes);
  }
}

void store(const TileRegister& tile, const Address& to) {
  for (int64_t r = 0; r < tile.rows; ++r) {
    std::memcpy(to.base + r * to.stride, tile.data[static_cast<size_t>(r)].data(), tile.row_bytes);
  }
}

// Numbers too small to be normal count as zero, as the instruction has it.
float flushed(float value) { return std::abs(value) < 0x1p-126f ? 0.0f : value; }

// A row of pairs as two of single numbers: those at even places, and those at odd ones.
using Halves = std::array<std::array<float, kRowBytes / 4>, 2>;

Halves widened(const std::array<uint8_t, kRowBytes>& row) {
  Halves halves;
  for (size_t i = 0; i < kRowBytes / 2; ++i) {
    const uint32_t bits = static_cast<uint32_t>(read<uint16_t>(row.data() + i * 2)) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    halves[i % 2][i / 2] = flushed(value);
  }
  return halves;
}

void dot_products(TileRegister& sums, const TileRegister& a, const TileRegister& b) {
  if (&sums == &a || &sums == &b || &a == &b) refuse("tdpbf16ps: a tile twice");
  if (sums.rows != a.rows) refuse("tdpbf16ps: rows differ");
  if (sums.row_bytes != b.row_bytes) refuse("tdpbf16ps: columns differ");
  if (a.row_bytes / 4 != b.rows) refuse("tdpbf16ps: inner dims differ");
  std::array<Halves, kRows> right;
  for (size_t k = 0; k < b.rows; ++k) right[k] = widened(b.data[k]);
  for (size_t m = 0; m < sums.rows; ++m) {
    const Halves left = widened(a.data[m]);
    std::array<float, kRowBytes / 4> sum;
    std::memcpy(sum.data(), sums.data[m].data(), kRowBytes);
    for (size_t k = 0; k < b.rows; ++k) {
      for (size_t half : {0, 1}) {
        for (size_t n = 0; n < sum.size(); ++n) {
          sum[n] = flushed(sum[n] + left[half][k] * right[k][half][n]);
        }
      }
    }
    std::memcpy(sums.data[m].data(), sum.data(), sums.row_bytes);
  }
}

// Does the instruction, and returns where the next one is: null for one that is not AMX's.
const uint8_t* execute(const Instruction& instruction, const ucontext_t& context) {
  constexpr int kNone = 0, k66 = 1, kF3 = 2, kF2 = 3;  // prefixes
  const bool in_memory = instruction.mod != 3;
  switch (instruction.opcode << 4 | instruction.prefix) {
    case 0x490 | kNone: {
      if (!in_memory) {  // tilerelease
        configured = false;
        registers = {};
        return instruction.rest;
      }
      const Address from = address_of(instruction, context);
      load_config(from.base + from.stride);
      return from.next;
    }
    case 0x490 | kF2:  // tilezero
      at(instruction.reg).data = {};
      return instruction.rest;
    case 0x4b0 | kF2:
    case 0x4b0 | k66: {  // tileloadd, tileloaddt1
      const Address from = address_of(instruction, context);
      load(at(instruction.reg), from);
      return from.next;
    }
    case 0x4b0 | kF3: {  // tilestored
      const Address to = address_of(instruction, context);
      store(at(instruction.reg), to);
      return to.next;
    }
    case 0x5c0 | kF3:  // tdpbf16ps
      if (in_memory) return nullptr;
      dot_products(at(instruction.reg), at(instruction.rm + (instruction.extend_base ? 8 : 0)),
                   at(instruction.vvvv));
      return instruction.rest;
    default: return nullptr;
  }
}

void on_illegal_instruction(int, siginfo_t*, void* given) {
  auto& context = *static_cast<ucontext_t*>(given);
  greg_t& counter = context.uc_mcontext.gregs[REG_RIP];
  const auto instruction = decode(reinterpret_cast<const uint8_t*>(counter));
  const uint8_t* next = instruction ? execute(*instruction, context) : nullptr;
  if (next == nullptr) {  // somebody else's: raised again, and fatal
    ::signal(SIGILL, SIG_DFL);
    return;
  }
  counter = reinterpret_cast<greg_t>(next);
}

}  // namespace

void emulate_amx() {
  struct sigaction action {};
  action.sa_sigaction = on_illegal_instruction;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(SIGILL, &action, nullptr);
}

int tiles_in_use() {
  return static_cast<int>(std::count_if(registers.begin(), registers.end(),
                                        [](const TileRegister& tile) { return tile.rows != 0; }));
}

}  // namespace ostinato::cpu
