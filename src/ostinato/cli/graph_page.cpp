#include "ostinato/cli/graph_page.h"

#include <unordered_map>

#include "ostinato/base/json.h"
#include "ostinato/cli/explain.h"
#include "ostinato/cli/output.h"
#include "ostinato/ir/text.h"
#include "ostinato/passes/rewrite.h"

namespace ostinato::cli {

namespace {

using ir::Node;
using ir::Value;

/// What decides a call's colour; the page's style has one for each.
std::string_view kind_of(const Node& node) {
  const std::string_view name = node.op->name;
  if (node.op->traits.view) return "view";
  if (node.op->traits.writes()) return "state";
  if (name.find("attention") != name.npos) return "attention";
  if (name.find("norm") != name.npos || name.find("softmax") != name.npos) return "norm";
  if (name.find("linear") != name.npos || name.find("mm") != name.npos || name == "aten.matmul" ||
      name == "aten.convolution") {
    return "product";
  }
  if (passes::one_of(name, {"aten.embedding", "aten.index.Tensor", "aten.index_select",
                            "aten.gather", "aten.cat"})) {
    return "index";
  }
  return node.op->traits.elementwise ? "elementwise" : "other";
}

/// The boxes of the picture in an order in which they can run, each with the boxes it reads.
/// Constants have none: there would be as many as calls.
Json boxes_of(const ir::Graph& graph, const passes::History& history) {
  Json boxes = Json::array();
  std::unordered_map<const Value*, size_t> box_of;
  const auto add_leaf = [&](const Value* value, std::string_view kind) {
    box_of[value] = boxes.size();
    boxes.push_back({{"title", value->name},
                     {"kind", kind},
                     {"reads", Json::array()},
                     {"about", {{"call", ir::to_string(value->type)}}}});
  };
  for (const Value* input : graph.inputs()) add_leaf(input, "input");
  for (const Value* state : graph.states()) add_leaf(state, "state");
  for (const auto& node : graph.nodes()) {
    Json reads = Json::array();
    for (const Value* operand : node->operands) {
      if (const auto at = box_of.find(operand); at != box_of.end()) reads.push_back(at->second);
    }
    for (const Value* result : node->results) box_of[result] = boxes.size();
    boxes.push_back({{"title", node->op->name},
                     {"kind", kind_of(*node)},
                     {"reads", std::move(reads)},
                     {"about", explain_call(*node, history)}});
  }
  for (const ir::Output& output : graph.outputs()) {
    Json reads = Json::array();
    if (const auto at = box_of.find(output.value); at != box_of.end()) reads.push_back(at->second);
    boxes.push_back({{"title", output.name},
                     {"kind", "output"},
                     {"reads", std::move(reads)},
                     {"about", {{"call", ir::to_string(output.value->type)}}}});
  }
  return boxes;
}

constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Ostinato graph</title><style>
body { margin: 0; display: flex; height: 100vh; font: 13px sans-serif; }
svg { flex: 1; background: #fafafa; cursor: grab; }
aside { width: 28em; padding: 1em; overflow: auto; border-left: 1px solid #ccc; }
input { width: 100%; box-sizing: border-box; padding: .4em; font: inherit; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
rect { stroke: #888; cursor: pointer; } text { pointer-events: none; font-size: 11px; }
path { fill: none; stroke: #aaa; } path.near { stroke: #c00; stroke-width: 2; }
.found rect { stroke: #c00; stroke-width: 3; } .chosen rect { stroke: #000; stroke-width: 3; }
.input rect, .output rect { fill: #fff; } .state rect { fill: #d8c9f0; }
.product rect { fill: #f6c28b; } .attention rect { fill: #f2a0a0; } .norm rect { fill: #a9d8a4; }
.elementwise rect { fill: #a8cdf0; } .view rect { fill: #e8e8e8; } .index rect { fill: #f3e58f; }
.other rect { fill: #d9c4ab; }
</style></head><body><svg><g></g></svg><aside>
<input type="search" placeholder="Operator, id, source, weight" autofocus>
<p id="count"></p>
<pre>Drag to move, wheel to zoom, click a box. Enter goes to the next one found.</pre>
</aside><script type="application/json" id="boxes">)";

// Layers by the longest way from a leaf; within a layer, by where the boxes lie that are read.
constexpr std::string_view kScript = R"(</script><script>
"use strict";
const boxes = JSON.parse(document.getElementById("boxes").textContent);
const WIDTH = 170, HEIGHT = 26, COLUMN = 190, ROW = 60;
const svg = document.querySelector("svg"), scene = svg.firstElementChild;
const pre = document.querySelector("pre"), field = document.querySelector("input");
const layers = [];
for (const box of boxes) {
  box.depth = Math.max(-1, ...box.reads.map((i) => boxes[i].depth)) + 1;
  (layers[box.depth] ??= []).push(box);
}
for (const layer of layers) {
  for (const box of layer) {
    const xs = box.reads.map((i) => boxes[i].x);
    box.wish = xs.length ? xs.reduce((a, b) => a + b) / xs.length : 0;
  }
  layer.sort((a, b) => a.wish - b.wish);
  layer.forEach((box, i) => {
    box.x = (i - (layer.length - 1) / 2) * COLUMN;
    box.y = box.depth * ROW;
  });
}
const make = (name, attributes, parent) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return parent.appendChild(element);
};
const edges = [];
boxes.forEach((box, to) => {
  for (const from of new Set(box.reads)) {
    const start = boxes[from], y = start.y + HEIGHT, bend = (box.y - y) / 2;
    const d = `M${start.x} ${y}C${start.x} ${y + bend} ${box.x} ${box.y - bend} ${box.x} ${box.y}`;
    edges.push({ from, to, element: make("path", { d }, scene) });
  }
});
const derivation = (call, indent) => {
  if (!call.made_by) return "";
  let text = `${indent}made by ${call.made_by} in round ${call.round}`;
  text += call.made_of.length ? " of\n" : "\n";
  for (const part of call.made_of) {
    text += `${indent}  ${part.call}\n${derivation(part, indent + "    ")}`;
  }
  return text;
};
const about = (box) => {
  const call = box.about, list = (title, items) => (items ?? []).map((i) => `${title} ${i}\n`);
  return [`${box.title}\n\n${call.call}\n\n`, ...list("from", call.sources),
    ...list("reads", call.operands), ...list("read by", call.read_by),
    derivation(call, "")].join("");
};
boxes.forEach((box, index) => {
  box.group = make("g", { class: box.kind }, scene);
  const place = { x: box.x - WIDTH / 2, y: box.y, width: WIDTH, height: HEIGHT, rx: 4 };
  make("rect", place, box.group).addEventListener("click", () => choose(index));
  const label = make("text", { x: box.x, y: box.y + 17, "text-anchor": "middle" }, box.group);
  label.textContent = box.title.length > 28 ? box.title.slice(0, 27) + "\u2026" : box.title;
  box.text = about(box);
  box.searched = (box.title + "\n" + box.text).toLowerCase();
});
let scale = 1, left = 0, top_ = 0;
const show = () => scene.setAttribute("transform", `translate(${left} ${top_}) scale(${scale})`);
const centre = (box) => {
  left = svg.clientWidth / 2 - box.x * scale;
  top_ = svg.clientHeight / 2 - box.y * scale;
  show();
};
function choose(index) {
  for (const box of boxes) box.group.classList.remove("chosen");
  boxes[index].group.classList.add("chosen");
  for (const edge of edges) {
    edge.element.classList.toggle("near", edge.from === index || edge.to === index);
  }
  pre.textContent = boxes[index].text;
}
svg.addEventListener("wheel", (event) => {
  event.preventDefault();
  const factor = Math.exp(-event.deltaY / 500), wanted = scale * factor;
  const next = Math.min(8, Math.max(0.01, wanted));
  const area = svg.getBoundingClientRect();
  const x = event.clientX - area.left, y = event.clientY - area.top;
  left = x - (x - left) * (next / scale);
  top_ = y - (y - top_) * (next / scale);
  scale = next;
  show();
}, { passive: false });
svg.addEventListener("mousemove", (event) => {
  if (event.buttons !== 1) return;
  left += event.movementX;
  top_ += event.movementY;
  show();
});
let found = [], next = 0;
field.addEventListener("input", () => {
  const words = field.value.toLowerCase();
  found = words ? boxes.flatMap((box, i) => (box.searched.includes(words) ? [i] : [])) : [];
  next = 0;
  for (const box of boxes) box.group.classList.remove("found");
  for (const index of found) boxes[index].group.classList.add("found");
  document.getElementById("count").textContent = words ? `${found.length} found` : "";
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !found.length) return;
  const index = found[next++ % found.length];
  centre(boxes[index]);
  choose(index);
});
if (boxes.length) centre({ x: 0, y: svg.clientHeight / 2 - ROW / 2 });
</script></body></html>
)";

}  // namespace

std::string graph_page(const ir::Graph& graph, const passes::History& history) {
  std::string data = dump(boxes_of(graph, history));
  // No text of the graph may end the script that it stands in.
  for (size_t at = 0; (at = data.find('<', at)) != std::string::npos; at += 6) {
    data.replace(at, 1, "\\u003c");
  }
  return fmt::format("{}{}{}", kHead, data, kScript);
}

}  // namespace ostinato::cli
