#include "ostinato/bench/lane_process.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "ostinato/base/error.h"
#include "ostinato/bench/memory.h"
#include "ostinato/bench/processors.h"

namespace ostinato::bench {

namespace {

constexpr double kNoBudget = std::numeric_limits<double>::max();

/// The lane on the child's side of the socket.
class Server {
 public:
  explicit Server(const LaneSpec& spec) : spec_(spec) {}

  Message answer(const Message& request) {
    const std::string what = request.json["do"];
    if (what == "memory") {
      return {{{"peak_rss_bytes", peak_resident_bytes()}, {"peak_anonymous_bytes", peak_.bytes()}}};
    }
    if (what == "outputs") return {Json::object(), lane_->outputs()};
    if (what == "time") return {lane_->time(request.json["iterations"], request.json["budget_ms"])};
    if (what == "generate") {
      return {lane_->generate(request.json["prompt"], request.json["max_new_tokens"])};
    }
    const AnonymousPeak::Watch watch(peak_);
    return {watched(what, request)};
  }

 private:
  Json watched(const std::string& what, const Message& request) {
    const Json& json = request.json;
    if (!lane_) {
      pin_to(spec_.processors);
      lane_.emplace(spec_);
    }
    if (what == "first_call") return lane_->first_call(request.tensors);
    if (what == "warm_up") return lane_->time(json["iterations"], kNoBudget);
    if (what == "prepare_generation") {
      return lane_->prepare_generation(json["prompt"], json["max_new_tokens"], json["capacity"]);
    }
    if (what == "judge") return lane_->judge(json["prompt"], json["tokens"]);
    return lane_->perplexity(json["ids"]);
  }

  const LaneSpec& spec_;
  std::optional<Lane> lane_;
  AnonymousPeak peak_;
};

Message error_of(ErrorCode code, const std::string& stage, const std::string& message,
                 const std::string& hint) {
  return {{{"error", {static_cast<int>(code), stage, message, hint}}}};
}

Message answer_or_error(Server& server, const Message& request) {
  try {
    Message reply = server.answer(request);
    return {{{"ok", std::move(reply.json)}}, std::move(reply.tensors)};
  } catch (const Error& error) {
    return error_of(error.code(), error.stage(), error.message(), error.hint());
  } catch (const std::bad_alloc&) {
    return error_of(ErrorCode::out_of_memory, "bench/lane", "out of memory",
                    "Use a smaller batch or model.");
  } catch (const std::exception& error) {
    return error_of(ErrorCode::internal, "bench/lane", error.what(), "Report this as a defect.");
  }
}

/// The child's life: answers until the parent closes the socket.
[[noreturn]] void serve(const LaneSpec& spec, pid_t parent, int socket) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);  // it went before the line above
  // A terminal sends Ctrl-C to parent and children at once: what is to be done is the parent's.
  std::signal(SIGINT, SIG_IGN);
  for (const int ending : {SIGTERM, SIGHUP}) std::signal(ending, SIG_DFL);
  Server server(spec);
  while (const auto request = receive(socket)) {
    if (!send(socket, answer_or_error(server, *request))) break;
  }
  _exit(0);  // nothing of the parent's is to be flushed or removed twice
}

}  // namespace

LaneProcess::LaneProcess(LaneSpec spec) : spec_(std::move(spec)) {
  const pid_t parent = getpid();
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0) child_ = fork();
  if (child_ < 0) {
    fail(ErrorCode::io, "bench/lane", "Close other programs and try again.",
         "cannot start a process for the lane {}: {}", name(), std::strerror(errno));
  }
  if (child_ == 0) {
    close(sockets[0]);
    serve(spec_, parent, sockets[1]);
  }
  close(sockets[1]);
  socket_ = sockets[0];
}

LaneProcess::~LaneProcess() {
  if (socket_ >= 0) close(socket_);
  if (child_ < 0) return;
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
}

LaneProcess::LaneProcess(LaneProcess&& other) noexcept
    : spec_(std::move(other.spec_)),
      child_(std::exchange(other.child_, -1)),
      socket_(std::exchange(other.socket_, -1)) {}

Message LaneProcess::ask(Json request, NamedTensors tensors) {
  std::optional<Message> reply;
  if (send(socket_, {std::move(request), std::move(tensors)})) reply = receive(socket_);
  if (!reply) report_end();
  if (reply->json.contains("error")) {
    const Json& error = reply->json["error"];
    throw Error(static_cast<ErrorCode>(error[0].get<int>()), error[1], error[2], error[3]);
  }
  return {std::move(reply->json["ok"]), std::move(reply->tensors)};
}

void LaneProcess::report_end() {
  int status = 0;
  waitpid(std::exchange(child_, -1), &status, 0);
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  if (signal == SIGKILL || signal == SIGTERM || signal == SIGHUP) {
    fail(ErrorCode::io, "bench/lane",
         "If the system was out of memory, use a smaller batch or fewer lanes; otherwise run the "
         "bench again.",
         "the process of the lane {} was ended from outside, by signal {} ({})", name(), signal,
         strsignal(signal));
  }
  fail(ErrorCode::internal, "bench/lane", "Report this as a defect.",
       "the process of the lane {} ended {}", name(),
       signal != 0 ? fmt::format("by signal {} ({})", signal, strsignal(signal))
                   : fmt::format("with code {}", WEXITSTATUS(status)));
}

Json LaneProcess::first_call(const NamedTensors& inputs) {
  return ask({{"do", "first_call"}}, inputs).json;
}

void LaneProcess::warm_up(int64_t iterations) {
  ask({{"do", "warm_up"}, {"iterations", iterations}});
}

Json LaneProcess::time(int64_t iterations, double budget_ms) {
  return ask({{"do", "time"}, {"iterations", iterations}, {"budget_ms", budget_ms}}).json;
}

NamedTensors LaneProcess::outputs() { return ask({{"do", "outputs"}}).tensors; }

Json LaneProcess::prepare_generation(const std::vector<int64_t>& prompt, int64_t max_new_tokens,
                                     int64_t capacity) {
  return ask({{"do", "prepare_generation"},
              {"prompt", prompt},
              {"max_new_tokens", max_new_tokens},
              {"capacity", capacity}})
      .json;
}

Json LaneProcess::generate(const std::vector<int64_t>& prompt, int64_t max_new_tokens) {
  return ask({{"do", "generate"}, {"prompt", prompt}, {"max_new_tokens", max_new_tokens}}).json;
}

Json LaneProcess::judge(const std::vector<int64_t>& prompt, const std::vector<int64_t>& tokens) {
  return ask({{"do", "judge"}, {"prompt", prompt}, {"tokens", tokens}}).json;
}

Json LaneProcess::perplexity(const std::vector<int64_t>& ids) {
  return ask({{"do", "perplexity"}, {"ids", ids}}).json;
}

Json LaneProcess::memory() { return ask({{"do", "memory"}}).json; }

}  // namespace ostinato::bench
