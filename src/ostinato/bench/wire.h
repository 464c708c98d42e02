#pragma once

#include <optional>

#include "ostinato/base/json.h"
#include "ostinato/bench/metrics.h"

namespace ostinato::bench {

/// What the bench and the process of a lane say to each other over a socket: some JSON, and tensors
/// as they lie in memory. Nothing goes over the disk.
struct Message {
  Json json;
  NamedTensors tensors = {};
};

/// False when the other side is gone.
bool send(int socket, const Message& message);

/// The next message; nothing when the other side is gone.
std::optional<Message> receive(int socket);

}  // namespace ostinato::bench
