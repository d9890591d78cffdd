// Numbers of regions and edges that the brain and the matrix show, from what was answered; and their colours.

// Yeo et al. 2011, J Neurophysiol 106, 1125, as its authors colour the networks; others take the next of the rest.
const NETWORKS = { Vis: "#781286", SomMot: "#4682b4", DorsAttn: "#00760e", SalVentAttn: "#c43afa", Limbic: "#8f963f", Cont: "#e69422", Default: "#cd3e4e", Subcortex: "#7a6a58" };
const REST = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#9a8c1d", "#5b5b8f"];

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);

// Colours of this page, as numbers from 0 to 1; they follow light and dark.
export function palette() {
  const [warm, cold, flat, absent, ink] = ["--warm", "--cold", "--flat", "--absent", "--ink"].map((name) => parts(style(name)));
  const mix = (one, other, share) => one.map((value, at) => value + share * (other[at] - value));
  return {
    absent, ink, flat,
    of: (value, limit) => (Number.isFinite(value) ? mix(flat, value > 0 ? warm : cold, Math.min(1, Math.abs(value) / limit) ** 0.8) : absent),
    sign: (value) => (value > 0 ? warm : cold),
  };
}

export function networkColours(networks) {
  let next = 0;
  const known = [...new Set(networks)];
  return Object.fromEntries(known.map((name) => [name, NETWORKS[name] ?? REST[next++ % REST.length]]));
}
export const rgb = parts;

// The regions network by network, each network's in their own order, and where each network begins.
export function byNetwork(networks) {
  const names = [...new Set(networks)].sort((a, b) => Number(a === "other") - Number(b === "other") || networks.indexOf(a) - networks.indexOf(b));
  const order = names.flatMap((name) => networks.flatMap((one, place) => (one === name ? [place] : [])));
  let begin = 0;
  const blocks = names.map((name) => {
    const size = networks.filter((one) => one === name).length;
    return { name, begin, end: (begin += size) };
  });
  return { order, blocks };
}

// Series at a moment, between the volumes beside it; NaN before the first and after the last.
export function atMoment(rows, seconds, now) {
  const after = seconds.findIndex((one) => one >= now);
  if (after < 0 || (after === 0 && seconds[0] > now)) return rows.map(() => NaN);
  const before = Math.max(0, after - 1), share = after === before ? 0 : (now - seconds[before]) / (seconds[after] - seconds[before]);
  return rows.map((row) => (row[before] ?? NaN) * (1 - share) + (row[after] ?? NaN) * share);
}

export const minus = (one, other) => one.map((row, i) => row.map((value, j) => (value === null || other[i][j] === null ? null : value - other[i][j])));

// What the strongest shade stands for: what one number in fifty exceeds.
export function limitOf(numbers) {
  const sizes = Float32Array.from(numbers.filter(Number.isFinite), Math.abs).sort();
  return sizes[Math.floor(0.98 * (sizes.length - 1))] || 1;
}

export const difference = (one, other) => one.map((value, at) => value - other[at]);

// The mean of each region's edges.
export function strength(matrix, size) {
  return Array.from({ length: size }, (_, i) => {
    let sum = 0, number = 0;
    for (let j = 0; j < size; j++) if (j !== i && Number.isFinite(matrix[i * size + j])) { sum += matrix[i * size + j]; number += 1; }
    return number ? sum / number : NaN;
  });
}

// The edges of largest size, [first, second, value] each, the largest first.
export function strongest(matrix, size, number) {
  const sizes = new Float32Array((size * (size - 1)) / 2), found = [];
  for (let i = 0, at = 0; i < size; i++) for (let j = i + 1; j < size; j++) sizes[at++] = Math.abs(matrix[i * size + j]) || 0;
  const least = Math.max(1e-6, sizes.sort()[Math.max(0, sizes.length - number)]);
  for (let i = 0; i < size; i++) for (let j = i + 1; j < size; j++) if (Math.abs(matrix[i * size + j]) >= least) found.push([i, j, matrix[i * size + j]]);
  return found.sort((a, b) => Math.abs(b[2]) - Math.abs(a[2])).slice(0, number);
}

export const plainRegion = (name) => name.replace(/^(?:Schaefer2018_)?(?:\d+Networks_)?|^FreeSurfer_/, "").replaceAll("_", " ");
