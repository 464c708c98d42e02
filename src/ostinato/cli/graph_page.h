#pragma once

#include <string>

#include "ostinato/passes/history.h"

namespace ostinato::cli {

/// A page in HTML, whole in itself, with a picture of the graph to move, zoom and search, and each
/// call's text, sources and origin where one clicks it. Of operators of one kind, one colour.
std::string graph_page(const ir::Graph& graph, const passes::History& history);

}  // namespace ostinato::cli
