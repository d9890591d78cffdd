// The state of the page as the part of the address after #, so that a link holds it; the key of the server is never in it.

const SEPARATOR = "~";

// A state is {person, other, task, block, trial, region, dose, edges, gains, view, colour, edgesShown, cortex, second, camera, given}.
export function asHash(state) {
  const fields = new URLSearchParams();
  const { edges = [], gains = [], camera, ...plain } = state;
  for (const [name, value] of Object.entries(plain)) if (value !== "" && value !== null && value !== undefined) fields.set(name, value);
  for (const { first, second, by } of edges) fields.append("edge", [first, second, by].join(SEPARATOR));
  for (const { region, gain } of gains) fields.append("gain", [region, gain].join(SEPARATOR));
  if (camera) fields.set("camera", camera.map((one) => Number(one.toFixed(2))).join(SEPARATOR));
  return `#${fields}`;
}

// What a hash says; nothing of what it does not say, or says in a way that cannot be read.
export function fromHash(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, "")), state = Object.fromEntries(fields);
  const lists = (name, size) => fields.getAll(name).map((one) => one.split(SEPARATOR)).filter((one) => one.length === size && Number.isFinite(Number(one.at(-1))));
  state.edges = lists("edge", 3).map(([first, second, by]) => ({ first, second, by: Number(by) }));
  state.gains = lists("gain", 2).map(([region, gain]) => ({ region, gain: Number(gain) }));
  const camera = (state.camera ?? "").split(SEPARATOR).map(Number);
  delete state.edge;
  delete state.gain;
  state.camera = camera.length === 3 && camera.every(Number.isFinite) ? camera : null;
  return state;
}
