// The page's state, its controls, and what follows from them.

import { fetched, json, latest } from "./http.js";
import { colourOf, drawCourse, drawMatrix, drawTimes, savePicture } from "./charts.js";
import { addKnob, changeAsked, edgesAsked, pair, showMoves, undoAll } from "./changes.js";
import { player } from "./play.js";
import { asCsv, save } from "./export.js";

const $ = (id) => document.getElementById(id);
const FIGURES = { mean_rt: ["Reaction time", "s", 3], condition_rt: ["Condition effect", "s", 3], accuracy: ["Right answers", "%", 1] };

// What is shown: `own` is the scene without any change, `changed` with what is asked, null while nothing is; `moved` are the changed
// matrices, one a performer.
const shown = { run: null, people: {}, matrices: {}, moved: null, block: null, own: null, changed: null, playing: null };

// Says why there is no answer, or that there is one again; what is said of an input stays.
function say(problem) {
  if (!problem && !("answer" in $("problem").dataset)) return;
  $("problem").dataset.answer = "";
  $("problem").hidden = !problem;
  $("problem").textContent = problem ?? "";
}

function told(work) {
  return async (...given) => {
    try {
      const done = await work(...given);
      say(null);
      return done;
    } catch (error) {
      say(error.message);
    }
  };
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => value === chosen)) select.value = chosen;
}

const performers = () => [$("person").value, ...($("other").value ? [$("other").value] : [])];
const selectedTrial = () => shown.playing ?? ($("trial").value === "" ? null : Number($("trial").value));
const short = (name) => (name.length > 8 ? `${name.slice(0, 6)}…` : name);

async function person(name) {
  shown.people[name] ??= await json(`api/people/${encodeURIComponent(name)}`);
  if (!shown.matrices[name]) {
    const bytes = await (await fetched(`api/people/${encodeURIComponent(name)}/connectome`)).arrayBuffer();
    shown.matrices[name] = new Float32Array(bytes);
  }
  return shown.people[name];
}

const request = (change) => ({
  people: performers(), task: $("task").value, block: Number($("block").value), bold_region: $("bold-region").value || null, ...change,
});

// Everything anew: another person, task, block or region.
async function reload() {
  const who = await person($("person").value);
  if ($("other").value) await person($("other").value);
  fill($("task"), who.tasks.map((one) => [one.task, one.task]), $("task").value);
  const blocks = who.tasks.find((one) => one.task === $("task").value)?.blocks ?? [];
  if (!blocks.length) throw new Error(`${who.person} performed no task that this twin knows.`);
  fill($("block"), blocks.map((label, place) => [String(place), label]), $("block").value);
  const asked = request({});
  const region = asked.bold_region ? `?bold_region=${encodeURIComponent(asked.bold_region)}` : "";
  const [block, own] = await Promise.all([
    json(`api/people/${encodeURIComponent(who.person)}/blocks/${encodeURIComponent(asked.task)}/${asked.block}${region}`),
    json("api/scene", asked),
  ]);
  const isSame = ["person", "task", "block"].every((key) => shown.block?.[key] === block[key]);
  Object.assign(shown, { block, own, moved: null });
  const trials = block.trials.map((trial, j) => [String(j), `${j + 1}, at ${trial.onset.toFixed(1)} s${trial.condition ? `: ${trial.condition}` : ""}`]);
  fill($("trial"), [["", `all ${block.trials.length} of the block`], ...trials], isSame ? $("trial").value : "");
  const part = { training: "was trained on", validation: "was stopped by", test: "has never seen", none: "has never seen" }[who.part];
  $("part").textContent = `The twin ${part} this person.`;
  const everyone = performers().every((name) => shown.people[name].has_intervention);
  for (const id of ["dose", "dose-number"]) $(id).disabled = !everyone;
  if (!everyone) $("dose").value = $("dose-number").value = 0;
  $("dose-note").textContent = doseNote(everyone);
  drawConnectome();
}

// One question at a time, and what is drawn belongs together: a change is asked for only when its block is there.
let isStale = true;
const answer = latest(told(async () => {
  if (isStale) {
    isStale = false;
    $("stage").setAttribute("aria-busy", "true");
    try {
      await reload();
    } catch (error) {
      isStale = true;
      throw error;
    } finally {
      $("stage").removeAttribute("aria-busy");
    }
  }
  const change = changeAsked(shown.run);
  shown.changed = change ? await json("api/scene", request(change)) : null;
  if (!isStale) draw();
  return !isStale;
}), told(async (isLast) => {
  const change = changeAsked(shown.run), moved = change ? await changedMatrices(change) : null;
  if (!isLast() || (!moved && !shown.moved)) return;
  shown.moved = moved;
  drawConnectome();
}));

async function changedMatrices(change) {
  const people = performers(), size = shown.run.regions.length ** 2;
  const bytes = await (await fetched("api/connectomes", { people, ...change })).arrayBuffer();
  return people.map((_, place) => new Float32Array(bytes, 4 * size * place, size));
}

function refresh() {
  isStale = true;
  return answer();
}

function doseNote(everyone) {
  const aim = shown.run.intervention;
  if (!aim) return "No search was made in this run: `dtb intervene`.";
  return everyone ? `To ${aim.direction} ${aim.target}; 1 is the change as it was found.` : "No change was found for everybody who is shown.";
}

function performances() {
  const list = [];
  performers().forEach((name, place) => {
    const colour = colourOf(place), states = shown.changed ? [["own", shown.own], ["changed", shown.changed]] : [["", shown.own]];
    for (const [state, scene] of states) {
      list.push({ label: state ? `${short(name)}, ${state}` : short(name), name, state, colour, own: state === "own", performer: scene.performers[place] });
    }
  });
  return list;
}

function draw() {
  const all = performances(), trial = selectedTrial(), { block } = shown;
  drawCourse($("course"), block, all, trial);
  drawTimes($("rt"), block, shown.own.rt_seconds, all, trial);
  const [first, second] = performers();
  $("title").textContent = `${first}: ${block.task}, ${block.run}${second ? `; performed by ${short(second)} too` : ""}`;
  table(all, block);
  showMoves(shown.changed);
  $("moved").textContent = shown.changed ? shown.changed.performers.map(moved).join("\n") : "Connectomes as they are: nothing is changed.";
  const milliseconds = Math.round(1000 * (shown.changed ?? shown.own).seconds);
  $("speed").textContent = `Answered in ${milliseconds} ms.`;
  $("speed").dataset.milliseconds = milliseconds;
  const right = all.map((one) => `${one.label}: mean reaction time ${text("mean_rt", one.performer.figures.mean_rt)}`).join("; ");
  const which = trial === null ? `${block.trials.length} trials` : `trial ${trial + 1} of ${block.trials.length}, stressed among the others`;
  $("course").setAttribute("aria-label", `Stimuli, probability of each choice for ${which}, and BOLD of ${block.bold_region ?? "no region"}. ${right}.`);
  describeTimes(all, trial);
}

function describeTimes(all, trial) {
  const each = all.map(({ label, performer }) => {
    const seconds = trial === null ? performer.figures.mean_rt : performer.mean_rt[trial];
    return `${label}: mean ${text("mean_rt", seconds)}`;
  });
  const of = trial === null ? "all trials" : `trial ${trial + 1}`;
  $("rt").setAttribute("aria-label", `Distribution of reaction times in ${of}. ${each.join("; ")}.`);
}

// Called while the block plays, with the trial that it is in.
function follow(trial) {
  if (trial === shown.playing) return;
  shown.playing = trial;
  const all = performances(), { block } = shown;
  drawTimes($("rt"), block, shown.own.rt_seconds, all, selectedTrial());
  describeTimes(all, selectedTrial());
  if (trial === null) return;
  const { condition, correct, choice, rt } = block.trials[trial];
  const twins = all.map((one) => {
    const best = one.performer.choice[trial].indexOf(Math.max(...one.performer.choice[trial]));
    return `${one.label} ${block.alternatives[best]} (${Math.round(100 * one.performer.choice[trial][best])} %)`;
  });
  const right = correct.length ? correct.join(" or ") : "to withhold";
  const did = choice.length ? `${choice.join(" or ")} after ${rt?.toFixed(2)} s` : "nothing";
  $("now").textContent = `Trial ${trial + 1}${condition ? `, ${condition}` : ""}. Right: ${right}. Pressed: ${did}. Likeliest: ${twins.join("; ")}.`;
}

function moved({ person: name, connectome }) {
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const cut = connectome.made < 0.995 * connectome.asked || connectome.made > 1.005 * connectome.asked;
  const how = cut ? `${percent(connectome.asked)} of its size was asked; the valid correlation matrix near by is ${percent(connectome.made)} away` : `moved by ${percent(connectome.made)} of its size`;
  return `${short(name)}: ${how}. From the cohort's mean: ${connectome.distance_before.toFixed(2)} → ${connectome.distance_after.toFixed(2)} SD.`;
}

function text(kind, value) {
  const [, unit, digits] = FIGURES[kind];
  return value === null || value === undefined ? "–" : `${(unit === "%" ? 100 * value : value).toFixed(digits).replace("-", "−")} ${unit}`;
}

function table(all, block) {
  const head = document.createElement("tr");
  head.append(cell("th", "In this block"), cell("th", `${short(block.person)} did`, "number"));
  for (const one of all) {
    const th = cell("th", "", "number"), swatch = document.createElement("span");
    swatch.className = one.own ? "swatch own" : "swatch";
    swatch.style.borderTopColor = one.colour;
    th.append(swatch, one.state ? one.label : `${one.label}, twin`);
    head.append(th);
  }
  const rows = Object.keys(FIGURES).filter((kind) => kind in block.figures).map((kind) => {
    const row = document.createElement("tr");
    row.append(cell("th", FIGURES[kind][0]), cell("td", text(kind, block.figures[kind]), "number"));
    for (const one of all) row.append(cell("td", text(kind, one.performer.figures[kind]), "number"));
    row.firstChild.scope = "row";
    return row;
  });
  $("figures").tHead.replaceChildren(head);
  $("figures").tBodies[0].replaceChildren(...rows);
}

function cell(kind, content, className = "") {
  const made = document.createElement(kind);
  made.className = className;
  made.append(content);
  if (kind === "th") made.scope = "col";
  return made;
}

function drawConnectome() {
  const [first, second] = performers(), { regions } = shown.run, { moved } = shown;
  const places = edgesAsked(shown.run).map((edge) => [regions.indexOf(edge.first), regions.indexOf(edge.second)]);
  const [upper, lower] = second ? moved ?? [shown.matrices[first], shown.matrices[second]] : [shown.matrices[first], moved?.[0] ?? shown.matrices[first]];
  drawMatrix($("matrix"), regions, upper, lower, places);
  const sides = second ? `${short(first)} above the diagonal, ${short(second)} below it${moved ? ", both changed" : ""}: `
    : moved ? `${short(first)}'s own above the diagonal, changed below it: ` : "";
  $("matrix-note").textContent = `${sides}${regions.length} regions. A click on a cell takes its edge to the controls.`;
  $("matrix").setAttribute("aria-label", `Correlations of ${regions.length} regions of ${performers().join(" and ")}. ${sides}`
    + (moved ? performers().map(farthest).join(" ") : "Nothing is changed."));
}

// Says in words which edge was moved farthest: what the eye finds in the matrix.
function farthest(name, place) {
  const { regions } = shown.run, own = shown.matrices[name], now = shown.moved[place];
  const best = now.reduce((kept, value, at) => (Math.abs(value - own[at]) > Math.abs(now[kept] - own[kept]) ? at : kept), 0);
  return `${short(name)}: the edge that moved farthest joins ${regions[Math.floor(best / regions.length)]} and ${regions[best % regions.length]}, `
    + `${own[best].toFixed(2)} → ${now[best].toFixed(2)}.`;
}

function pickEdge(event) {
  const point = event.points.find((one) => one.data.type === "heatmap");
  if (!point || point.x === point.y) return;
  addKnob("edge", [shown.run.regions[point.y], shown.run.regions[point.x]]);
  drawConnectome();
}

function taken() {
  return { notice: shown.run.notice, does_not_fit: shown.run.does_not_fit, run: shown.run.name, version: shown.run.version, request: request(changeAsked(shown.run) ?? {}),
    block: shown.block, own: shown.own, changed: shown.changed };
}

async function begin() {
  shown.run = await json("api/run");
  const { run } = shown;
  document.title = `The live twin · ${run.name}`;
  $("run-name").textContent = ` · ${run.name}`;
  $("notice").textContent = run.notice;
  $("does-not-fit").textContent = run.does_not_fit ?? "";
  $("does-not-fit").hidden = !run.does_not_fit;
  fill($("person"), run.people.map((name) => [name, name]));
  fill($("other"), [["", "nobody"], ...run.people.map((name) => [name, name])]);
  fill($("bold-region"), run.bold_regions.map((name) => [name, name]));
  $("bold-region").parentElement.hidden = !run.bold_regions.length;
  $("regions").replaceChildren(...run.regions.map((name) => new Option("", name)));
  pair($("dose"), $("dose-number"), answer);
  for (const id of ["person", "other", "task", "block", "bold-region"]) $(id).addEventListener("change", refresh);
  $("trial").addEventListener("change", draw);
  const knobsChanged = () => { drawConnectome(); answer(); };
  document.addEventListener("knob", (event) => (event.detail.moved ? answer() : knobsChanged()));
  $("add-edge").addEventListener("click", () => addKnob("edge").focus());
  $("add-region").addEventListener("click", () => addKnob("region").focus());
  $("reset").addEventListener("click", () => { undoAll(); knobsChanged(); });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("save-json").addEventListener("click", () => save("twin.json", "application/json", JSON.stringify(taken(), null, 1)));
  $("save-csv").addEventListener("click", () => save("twin.csv", "text/csv", asCsv(shown.block, shown.own, performances())));
  for (const button of document.querySelectorAll("[data-png]")) {
    button.setAttribute("aria-label", `Save as PNG: ${button.closest("section").querySelector("h2").textContent}`);
    button.addEventListener("click", () => savePicture($(button.dataset.png), `twin-${button.dataset.png}`));
  }
  const stop = player($("play"), $("course"), () => shown.block, follow);
  for (const id of ["person", "task", "block"]) $(id).addEventListener("change", stop);
  await refresh();
  if (!shown.block) return;
  $("matrix").on("plotly_click", pickEdge);
  $("course").on("plotly_click", (event) => {
    const j = event.points[0].customdata?.[0];
    if (j === undefined) return;
    $("trial").value = String(j) === $("trial").value ? "" : String(j);
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { draw(); drawConnectome(); });
}

begin().catch((error) => say(error.message));
