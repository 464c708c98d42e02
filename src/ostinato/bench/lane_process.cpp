#include "ostinato/bench/lane_process.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <utility>

#include "ostinato/base/error.h"
#include "ostinato/import/safetensors.h"
#include "ostinato/import/safetensors_writer.h"

namespace ostinato::bench {

namespace {

/// Writes all of it; false when the other side is gone.
bool write_all(int file, const void* data, size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t done = ::send(file, bytes, size, MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes += done;
    size -= static_cast<size_t>(done);
  }
  return true;
}

bool read_all(int file, void* data, size_t size) {
  auto* bytes = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t done = ::read(file, bytes, size);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes += done;
    size -= static_cast<size_t>(done);
  }
  return true;
}

bool send_message(int file, const Json& message) {
  const std::string text = message.dump();
  const uint64_t size = text.size();
  return write_all(file, &size, sizeof(size)) && write_all(file, text.data(), text.size());
}

std::optional<Json> receive(int file) {
  uint64_t size = 0;
  if (!read_all(file, &size, sizeof(size))) return std::nullopt;
  std::string text(size, '\0');
  if (!read_all(file, text.data(), text.size())) return std::nullopt;
  return Json::parse(text);
}

NamedTensors read_tensors(const std::filesystem::path& path) {
  const auto file = importer::SafetensorsFile::open(path);
  NamedTensors tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.get(name));
  return tensors;
}

/// The tensors in the order that the request names them, since a file sorts them.
NamedTensors read_inputs(const Json& request) {
  const auto file = importer::SafetensorsFile::open(request["file"].get<std::string>());
  NamedTensors tensors;
  for (const Json& name : request["names"]) {
    tensors.emplace_back(name, file.get(name.get<std::string>()));
  }
  return tensors;
}

Json answer(std::optional<Lane>& lane, const LaneSpec& spec, const Json& request) {
  const std::string what = request["do"];
  if (what == "memory") return Lane::memory();
  if (!lane) lane.emplace(spec);
  if (what == "first_call") return lane->first_call(read_inputs(request));
  if (what == "time") return lane->time(request["iterations"], request["budget_ms"]);
  if (what == "generate") {
    return lane->generate(request["prompt"], request["max_new_tokens"], request["ignore_stop"]);
  }
  if (what == "judge") return lane->judge(request["prompt"], request["tokens"]);
  importer::write_safetensors(request["file"].get<std::string>(), lane->outputs());
  return Json::object();
}

/// The child's life: answers until the parent closes the pipe.
[[noreturn]] void serve(const LaneSpec& spec, int parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::optional<Lane> lane;
  while (const auto request = receive(parent)) {
    Json reply;
    try {
      reply = {{"ok", answer(lane, spec, *request)}};
    } catch (const Error& error) {
      reply = {{"error",
                {static_cast<int>(error.code()), error.stage(), error.message(), error.hint()}}};
    } catch (const std::bad_alloc&) {
      reply = {{"error",
                {static_cast<int>(ErrorCode::out_of_memory), "bench/lane", "out of memory",
                 "Use a smaller batch or model."}}};
    }
    if (!send_message(parent, reply)) break;
  }
  _exit(0);  // nothing of the parent's is to be flushed or removed twice
}

}  // namespace

LaneProcess::LaneProcess(LaneSpec spec, std::filesystem::path scratch)
    : spec_(std::move(spec)), scratch_(std::move(scratch)) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0 || (child_ = fork()) < 0) {
    fail(ErrorCode::io, "bench/lane", "Close other programs and try again.",
         "cannot start a process for the lane {}", spec_.name);
  }
  if (child_ == 0) {
    close(sockets[0]);
    serve(spec_, sockets[1]);
  }
  close(sockets[1]);
  socket_ = sockets[0];
}

LaneProcess::~LaneProcess() {
  if (child_ < 0) return;
  close(socket_);
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
}

LaneProcess::LaneProcess(LaneProcess&& other) noexcept
    : spec_(std::move(other.spec_)),
      scratch_(std::move(other.scratch_)),
      child_(std::exchange(other.child_, -1)),
      socket_(other.socket_) {}

Json LaneProcess::ask(const Json& request) {
  std::optional<Json> reply;
  if (send_message(socket_, request)) reply = receive(socket_);
  if (!reply) {
    int status = 0;
    waitpid(child_, &status, 0);
    child_ = -1;
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    fail(killed ? ErrorCode::out_of_memory : ErrorCode::internal, "bench/lane",
         killed ? "It was probably out of memory: use a smaller batch, or fewer lanes."
                : "Report this as a defect.",
         "the process of the lane {} died{}", spec_.name,
         WIFSIGNALED(status) ? fmt::format(" of signal {}", WTERMSIG(status)) : "");
  }
  if (reply->contains("error")) {
    const Json& error = (*reply)["error"];
    throw Error(static_cast<ErrorCode>(error[0].get<int>()), error[1], error[2], error[3]);
  }
  return (*reply)["ok"];
}

std::filesystem::path LaneProcess::file(std::string_view name) const {
  return scratch_ / fmt::format("{}-{}.safetensors", spec_.name, name);
}

Json LaneProcess::first_call(const NamedTensors& inputs) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : inputs) names.push_back(name);
  importer::write_safetensors(file("inputs"), inputs);
  return ask({{"do", "first_call"}, {"file", file("inputs").string()}, {"names", names}});
}

Json LaneProcess::time(int64_t iterations, double budget_ms) {
  return ask({{"do", "time"}, {"iterations", iterations}, {"budget_ms", budget_ms}});
}

NamedTensors LaneProcess::outputs() {
  ask({{"do", "outputs"}, {"file", file("outputs").string()}});
  return read_tensors(file("outputs"));
}

Json LaneProcess::generate(const std::vector<int64_t>& prompt, int64_t max_new_tokens,
                           bool ignore_stop) {
  return ask({{"do", "generate"},
              {"prompt", prompt},
              {"max_new_tokens", max_new_tokens},
              {"ignore_stop", ignore_stop}});
}

Json LaneProcess::judge(const std::vector<int64_t>& prompt, const std::vector<int64_t>& tokens) {
  return ask({{"do", "judge"}, {"prompt", prompt}, {"tokens", tokens}});
}

Json LaneProcess::memory() { return ask({{"do", "memory"}}); }

}  // namespace ostinato::bench
