#include "ostinato/bench/wire.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace ostinato::bench {

namespace {

bool send_all(int socket, const void* data, size_t size) {
  const auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t done = ::send(socket, bytes, size, MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes += done;
    size -= static_cast<size_t>(done);
  }
  return true;
}

bool receive_all(int socket, void* data, size_t size) {
  auto* bytes = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t done = ::read(socket, bytes, size);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes += done;
    size -= static_cast<size_t>(done);
  }
  return true;
}

}  // namespace

bool send(int socket, const Message& message) {
  Json tensors = Json::array();
  for (const auto& [name, tensor] : message.tensors) {
    tensors.push_back({name, name_of(tensor.dtype()), tensor.shape()});
  }
  const std::string text =
      Json({{"json", message.json}, {"tensors", std::move(tensors)}})
          .dump(-1, ' ', false, Json::error_handler_t::replace);  // an error may quote broken UTF-8
  const uint64_t size = text.size();
  if (!send_all(socket, &size, sizeof(size)) || !send_all(socket, text.data(), text.size())) {
    return false;
  }
  for (const auto& [name, tensor] : message.tensors) {
    if (!send_all(socket, tensor.data(), tensor.bytes())) return false;
  }
  return true;
}

std::optional<Message> receive(int socket) {
  uint64_t size = 0;
  if (!receive_all(socket, &size, sizeof(size))) return std::nullopt;
  std::string text(size, '\0');
  if (!receive_all(socket, text.data(), text.size())) return std::nullopt;
  Json header = Json::parse(text);
  Message message{std::move(header["json"])};
  for (const Json& entry : header["tensors"]) {
    Tensor tensor =
        Tensor::empty(dtype_of(entry[1].get<std::string>()), entry[2].get<std::vector<int64_t>>());
    if (!receive_all(socket, tensor.data(), tensor.bytes())) return std::nullopt;
    message.tensors.emplace_back(entry[0].get<std::string>(), std::move(tensor));
  }
  return message;
}

}  // namespace ostinato::bench
