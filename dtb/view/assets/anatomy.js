// The panel of the brain: which numbers it shows as colours, spheres and tubes, what is pointed at and what is picked.

import { brainView, unpacked } from "./brain.js";
import { fetched } from "./http.js";
import { atMoment, difference, limitOf, minus, networkColours, palette, plainRegion, rgb, strength, strongest } from "./values.js";

const $ = (id) => document.getElementById(id);
const UNITS = { bold: "BOLD, SD", measured: "measured BOLD, SD", strength: "mean of r", network: "" };
const signed = (value, digits = 2) => `${value > 0 ? "+" : ""}${value.toFixed(digits)}`.replace("-", "−");

// `run` is the description; `ask` gives what is shown now: {scenes: {own, changed}, block, place, second, view, matrices: {own, changed}};
// `on.pick` is told the number of a region, `on.turn` that the link is another.
export async function anatomy(run, ask, on) {
  const cortex = run.has_cortex ? unpacked(await (await fetched("api/cortex")).arrayBuffer()) : null;
  const known = run.places.some(Boolean), networks = networkColours(run.networks);
  const tellNetworks = Object.keys(networks).length > 1; // one network alone says nothing of a region
  const canvas = $("brain-canvas"), bolds = new Map(run.bold_regions.map((name, row) => [run.regions.indexOf(name), row]));
  const state = { picked: null, hovered: null, values: [], limit: 1, edges: [], isChange: false };
  let brain = null, wrong = "";
  try {
    brain = known && brainView(canvas, cortex, run.places, { hover: (region) => { state.hovered = region; tell(); }, pick, turn: on.turn });
  } catch (error) {
    wrong = error.message;
  }
  if (!brain) {
    $("brain-stage").hidden = true;
    $("brain-none").hidden = false;
    $("brain-none").textContent = !known ? "It is not known where this run's regions lie, so no brain is drawn. dtb view RUN --atlas ATLAS tells it: a labelled volume, a table of centres, or Schaefer100 to Schaefer400."
      : `No brain is drawn: this browser has no WebGL 2${wrong && ` (${wrong})`}. Everything else works without.`;
  }

  function pick(region) {
    state.picked = region === state.picked ? null : region;
    $("picked").value = state.picked === null ? "" : run.regions[state.picked];
    paint();
    on.pick(state.picked);
  }

  // Which numbers the colours stand for.
  function values() {
    const { scenes, block, place, second, view, matrices } = ask(), kind = $("colour").value;
    state.isChange = view === "change" && (kind === "bold" ? scenes.changed !== null : kind === "strength" && matrices.changed !== null);
    if (kind === "network") return [run.networks, 1];
    if (kind === "strength") {
      const { own, changed } = matrices, matrix = state.isChange ? difference(changed, own) : (view !== "own" && changed) || own;
      const found = strength(matrix, run.regions.length);
      return [found, limitOf(found)];
    }
    const map = (scene) => scene.performers[place].bold_map;
    const rows = kind === "measured" ? block.bold_map : state.isChange ? minus(map(scenes.changed), map(scenes.own)) : map((view !== "own" && scenes.changed) || scenes.own);
    const now = atMoment(rows, block.bold_seconds, second);
    return [run.regions.map((_, region) => (bolds.has(region) ? now[bolds.get(region)] : NaN)), limitOf(rows.flat())];
  }

  // Colours anew: of the moment, the picked region, light or dark.
  function paint() {
    if (!ask().block) return;
    [state.values, state.limit] = values();
    legend();
    tell();
    if (!brain) return;
    const colours = palette(), kind = $("colour").value, isGlass = $("cortex").value === "glass";
    const of = run.regions.map((_, region) => (kind === "network" ? rgb(networks[run.networks[region]]) : colours.of(state.values[region], state.limit)));
    let vertices = null;
    const tint = isGlass ? colours.flat.join() : null; // glass has one colour, which is sent once
    if (cortex && (!isGlass || tint !== state.tint)) {
      vertices = new Uint8Array(3 * cortex.regions.length);
      const absent = colours.absent, plain = colours.flat;
      cortex.regions.forEach((region, v) => {
        const colour = isGlass ? plain : region < 0 ? absent : region === state.picked ? colours.ink : of[region];
        for (let axis = 0; axis < 3; axis++) vertices[3 * v + axis] = 255 * colour[axis];
      });
    }
    state.tint = tint;
    const joined = new Set(state.edges.flatMap(([one, other]) => [one, other]));
    const size = 7.5 / run.regions.length ** 0.22;
    const spheres = run.places.flatMap((place, region) => (place ? [{
      region, radius: region === state.picked ? 2 * size : size * (joined.has(region) ? 1.25 : 1), colour: region === state.picked ? colours.ink : of[region],
    }] : []));
    const most = Math.max(1e-6, ...state.edges.map((edge) => Math.abs(edge[2])));
    const tubes = isGlass ? state.edges.flatMap(([one, other, value]) => (run.places[one] && run.places[other] ? [{
      from: run.places[one], to: run.places[other], radius: 0.25 + 0.9 * (Math.abs(value) / most) ** 1.5, colour: colours.sign(value),
    }] : [])) : [];
    brain.show({ vertices, spheres, tubes, seeThrough: isGlass ? 1 : 0 });
  }

  // Edges anew, where the connectomes are others.
  function join() {
    const { matrices, view } = ask(), number = Number($("edges-shown").value);
    if (!matrices.own) return;
    const isChange = view === "change" && matrices.changed !== null;
    const matrix = isChange ? difference(matrices.changed, matrices.own) : (view !== "own" && matrices.changed) || matrices.own;
    state.edges = number ? strongest(matrix, run.regions.length, number) : [];
    state.edgesAre = isChange ? "changed most" : "strongest";
    paint();
  }

  function told(region) {
    const value = state.values[region], name = `${plainRegion(run.regions[region])}${tellNetworks ? `, ${run.networks[region]}` : ""}`;
    if (typeof value === "string") return name;
    return `${name}: ${Number.isFinite(value) ? `${signed(value, state.limit < 0.1 ? 4 : 2)} ${UNITS[$("colour").value].split(", ").at(-1)}` : "not predicted"}`;
  }

  function tell() {
    const region = state.hovered ?? state.picked, label = $("brain-label");
    label.hidden = region === null;
    if (region === null) return;
    label.textContent = told(region);
    if (!brain) return;
    const [x, y] = brain.at(region), isRight = x > canvas.clientWidth / 2;
    Object.assign(label.style, { top: `${Math.max(0, y - 34)}px`, left: isRight ? "auto" : `${x + 8}px`, right: isRight ? `${canvas.clientWidth - x + 8}px` : "auto" });
  }

  function legend() {
    const kind = $("colour").value, box = $("brain-legend");
    if (kind === "network") {
      box.replaceChildren(...Object.entries(networks).map(([name, colour]) => {
        const one = document.createElement("span"), dot = document.createElement("i");
        dot.style.background = colour;
        one.append(dot, name);
        return one;
      }));
    } else {
      const bar = document.createElement("i"), limit = state.limit.toPrecision(2);
      bar.className = "bar";
      box.replaceChildren(`−${limit}`, bar, `+${limit}`, ` ${state.isChange ? "change of " : ""}${UNITS[kind]}`);
    }
    const { block, second } = ask(), moment = kind === "bold" || kind === "measured" ? ` at ${second.toFixed(1)} s` : "";
    const sorted = state.values.flatMap((value, region) => (Number.isFinite(value) ? [region] : [])).sort((a, b) => Math.abs(state.values[b]) - Math.abs(state.values[a]));
    const edges = state.edges.length ? ` ${state.edges.length} edges that are ${state.edgesAre}: ${state.edges.slice(0, 3).map(([a, b, value]) =>
      `${plainRegion(run.regions[a])} with ${plainRegion(run.regions[b])} ${signed(value)}`).join("; ")}.` : "";
    canvas.setAttribute("aria-label", `A brain that arrow keys turn and + and − bring nearer. ${state.isChange ? "Change of " : ""}${UNITS[kind] || "Networks"}${moment} of `
      + `${run.regions.length} regions${block ? ` of ${block.person}` : ""}. ${sorted.length ? `The largest: ${sorted.slice(0, 3).map(told).join("; ")}.` : ""}${edges}`);
  }

  for (const button of document.querySelectorAll("[data-side]")) button.addEventListener("click", () => brain?.from(button.dataset.side));
  for (const id of ["colour", "cortex"]) $(id).addEventListener("change", () => { paint(); on.turn(); });
  $("edges-shown").addEventListener("change", () => { join(); on.turn(); });
  $("picked").addEventListener("change", () => {
    const region = run.regions.indexOf($("picked").value);
    if (region < 0 ? state.picked !== null : region !== state.picked) pick(region < 0 ? state.picked : region);
  });
  return {
    paint, join, state,
    camera: () => (brain ? [brain.camera.yaw, brain.camera.pitch, brain.camera.zoom] : null),
    turnTo(camera) { if (brain && camera) { [brain.camera.yaw, brain.camera.pitch, brain.camera.zoom] = camera; brain.turned(); } },
    picture: (done) => brain?.picture(done),
  };
}
