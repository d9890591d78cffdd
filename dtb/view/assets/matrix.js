// The connectome as a matrix, its regions in the order of their networks: two sides of the diagonal, or the change alone.

import { layout, SILENT, style, title } from "./charts.js";
import { limitOf, plainRegion } from "./values.js";

// What a cell tells when it is pointed at: the same for every matrix of a run.
const told = new WeakMap();
function pairs(regions, order) {
  if (!told.has(order)) {
    const names = order.map((region) => plainRegion(regions[region]));
    told.set(order, names.map((one) => names.map((other) => [one, other])));
  }
  return told.get(order);
}

// `upper` and `lower` are whole matrices in the order of the regions; `edges` are pairs of places that are asked to change.
export function drawMatrix(place, { regions, order, blocks }, { upper, lower, isChange }, edges) {
  const size = regions.length, where = new Map(order.map((region, at) => [region, at]));
  const z = order.map((i, row) => Float32Array.from(order, (j, column) => (row <= column ? upper : lower)[i * size + j]));
  const limit = isChange ? limitOf(upper.filter((value) => value !== 0)) : 1;
  const marks = edges.flatMap(([a, b]) => [[a, b], [b, a]]).map((pair) => pair.map((one) => where.get(one)));
  const named = blocks.length > 1 || blocks[0]?.name !== "other" ? blocks : [];
  const line = (x0, y0, x1, y1) => ({ type: "line", x0, y0, x1, y1, line: { color: style("--ink"), width: 0.8 }, opacity: 0.75 });
  const shapes = named.slice(1).flatMap(({ begin }) => [line(begin - 0.5, -0.5, begin - 0.5, size - 0.5), line(-0.5, begin - 0.5, size - 0.5, begin - 0.5)]);
  const isNarrow = place.clientWidth < 420;
  const axis = {
    showgrid: false, fixedrange: true, zeroline: false, ticks: "", showticklabels: named.length > 0, tickfont: { size: 10 }, constrain: "domain",
    tickvals: named.map(({ begin, end }) => (begin + end - 1) / 2), ticktext: named.map(({ name }) => name), range: [-0.5, size - 0.5],
  };
  return Plotly.react(place, [
    {
      type: "heatmap", z, zmin: -limit, zmax: limit, colorscale: [[0, style("--cold")], [0.5, style("--flat")], [1, style("--warm")]],
      colorbar: {
        orientation: "h", y: 1, yanchor: "bottom", len: 0.7, thickness: 10, outlinewidth: 0, title: { text: isChange ? "change of r" : "r", side: "top" },
      },
      customdata: pairs(regions, order), hovertemplate: "%{customdata[0]} – %{customdata[1]}: %{z:.2f}<extra></extra>",
    },
    {
      type: "scatter", mode: "markers", x: marks.map((pair) => pair[1]), y: marks.map((pair) => pair[0]), hoverinfo: "skip",
      marker: { symbol: "square-open", size: 9, color: style("--ink"), line: { width: 2 } }, showlegend: false,
    },
  ], layout({
    height: Math.min(500, window.innerWidth), margin: { l: 8, r: 8, t: 8, b: 8 }, shapes,
    xaxis: { ...axis, tickangle: -50, showticklabels: named.length > 0 && !isNarrow }, yaxis: { ...axis, range: [size - 0.5, -0.5], scaleanchor: "x" },
  }), SILENT);
}
