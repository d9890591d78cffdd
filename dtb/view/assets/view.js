// The page's state, its controls, and what follows from them.

import { anatomy } from "./anatomy.js";
import { fetched, json, latest } from "./http.js";
import { colourOf, drawCourse, drawTimes, savePicture, showMoment } from "./charts.js";
import { addKnob, changeAsked, edgesAsked, pair, showMoves, undoAll } from "./changes.js";
import { drawMatrix } from "./matrix.js";
import { player, trialAt } from "./play.js";
import { asCsv, save } from "./export.js";
import { drawTable, text } from "./figures.js";
import { linked } from "./linked.js";
import { living } from "./living.js";
import { byNetwork, difference } from "./values.js";

const $ = (id) => document.getElementById(id);

// What is shown: `own` is the scene without any change, `changed` with what is asked, null while nothing is; `moved` are the changed
// matrices, one a performer.
const shown = {
  run: null, people: {}, matrices: {}, moved: null, block: null, own: null, changed: null, playing: null, second: 0, order: null, wanted: {},
};
let brain = null, moment = null, learning = null;
const { hash, remember, restore, copy } = linked(shown, () => brain);

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
  const { wanted } = shown;
  shown.wanted = {};
  fill($("task"), who.tasks.map((one) => [one.task, one.task]), wanted.task ?? $("task").value);
  const blocks = who.tasks.find((one) => one.task === $("task").value)?.blocks ?? [];
  if (!blocks.length) throw new Error(`${who.person} performed no task that this twin knows.`);
  fill($("block"), blocks.map((label, place) => [String(place), label]), wanted.block ?? $("block").value);
  const asked = request({});
  const region = asked.bold_region ? `?bold_region=${encodeURIComponent(asked.bold_region)}` : "";
  const [block, own] = await Promise.all([
    json(`api/people/${encodeURIComponent(who.person)}/blocks/${encodeURIComponent(asked.task)}/${asked.block}${region}`),
    json("api/scene", asked),
  ]);
  const isSame = ["person", "task", "block"].every((key) => shown.block?.[key] === block[key]);
  if (shown.changed) shown.wantedView ??= $("view").value;
  Object.assign(shown, { block, own, changed: null, moved: null });
  const trials = block.trials.map((trial, j) => [String(j), `${j + 1}, at ${trial.onset.toFixed(1)} s${trial.condition ? `: ${trial.condition}` : ""}`]);
  fill($("trial"), [["", `all ${block.trials.length} of the block`], ...trials], wanted.trial ?? (isSame ? $("trial").value : ""));
  const part = { training: "was trained on", validation: "was stopped by", test: "has never seen", none: "has never seen" }[who.part];
  $("part").textContent = `The twin ${part} this person.`;
  const everyone = performers().every((name) => shown.people[name].has_intervention);
  for (const id of ["dose", "dose-number"]) $(id).disabled = !everyone;
  if (!everyone) $("dose").value = $("dose-number").value = 0;
  $("dose-note").textContent = doseNote(everyone);
  if (!isSame) moment.reset(wanted.second === undefined ? null : Number(wanted.second));
  fill($("brain-of"), performers().map((name, place) => [String(place), short(name)]), $("brain-of").value);
  $("brain-of").parentElement.hidden = performers().length < 2;
  learning.look();
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
  const change = changeAsked(shown.run), was = shown.changed !== null;
  shown.changed = change ? await json("api/scene", request(change)) : null;
  if ((shown.changed !== null) !== was) choose(shown.changed === null ? "own" : shown.wantedView ?? "change");
  if (!isStale) draw();
  return !isStale;
}), told(async (isLast) => {
  const change = changeAsked(shown.run), moved = change ? await changedMatrices(change) : null;
  if (!isLast() || (!moved && !shown.moved)) return;
  shown.moved = moved;
  drawConnectome();
}));

// Shows connectomes as they are, as they were changed, or the change alone: in the matrix and on the brain.
function choose(view) {
  delete shown.wantedView;
  if (view === "own") shown.moved = null;
  $("view").disabled = view === "own";
  $("view").value = view;
  drawConnectome();
}

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
  drawCourse($("course"), block, all, trial, shown.second);
  drawTimes($("rt"), block, shown.own.rt_seconds, all, trial);
  const [first, second] = performers();
  $("title").textContent = `${first}: ${block.task}, ${block.run}${second ? `; performed by ${short(second)} too` : ""}`;
  drawTable($("figures"), all, block, short(block.person));
  brain?.paint();
  tellMoment(all, trialAt(block, shown.second));
  showMoves(shown.changed);
  $("moved").textContent = shown.changed ? shown.changed.performers.map(moved).join("\n") : "Connectomes as they are: nothing is changed.";
  const milliseconds = Math.round(1000 * (shown.changed ?? shown.own).seconds);
  $("speed").textContent = `Answered in ${milliseconds} ms.`;
  $("speed").dataset.milliseconds = milliseconds;
  const right = all.map((one) => `${one.label}: mean reaction time ${text("mean_rt", one.performer.figures.mean_rt)}`).join("; ");
  const which = trial === null ? `${block.trials.length} trials` : `trial ${trial + 1} of ${block.trials.length}, stressed among the others`;
  $("course").setAttribute("aria-label", `Stimuli, probability of each choice for ${which}, and BOLD of ${block.bold_region ?? "no region"}. ${right}.`);
  describeTimes(all, trial);
  remember();
}

function describeTimes(all, trial) {
  const each = all.map(({ label, performer }) => {
    const seconds = trial === null ? performer.figures.mean_rt : performer.mean_rt[trial];
    return `${label}: mean ${text("mean_rt", seconds)}`;
  });
  const of = trial === null ? "all trials" : `trial ${trial + 1}`;
  $("rt").setAttribute("aria-label", `Distribution of reaction times in ${of}. ${each.join("; ")}.`);
}

// Called with the second that is looked at, and the trial that it is in.
function follow(second, trial, plays) {
  const { block } = shown, all = performances();
  shown.second = second;
  if ($("course").data) showMoment($("course"), second);
  brain?.paint();
  remember();
  const playing = plays ? trial : null;
  if (playing !== shown.playing) {
    shown.playing = playing;
    drawTimes($("rt"), block, shown.own.rt_seconds, all, selectedTrial());
    describeTimes(all, selectedTrial());
  }
  if (trial !== null || !plays) tellMoment(all, trial); // between trials the last one can still be read
}

// Says what happens at the moment that is looked at.
function tellMoment(all, trial) {
  const { block, second } = shown;
  if (trial === null) {
    $("now").textContent = `At ${second.toFixed(1)} s of the run. Play is four times as fast as it was.`;
    return;
  }
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

function drawConnectome() {
  const [first, second] = performers(), { regions } = shown.run, { moved } = shown, view = $("view").value, isChange = view === "change" && moved !== null;
  const places = edgesAsked(shown.run).map((edge) => [regions.indexOf(edge.first), regions.indexOf(edge.second)]);
  const own = (name) => shown.matrices[name], now = (name, place) => (isChange ? difference(moved[place], own(name)) : view === "changed" && moved ? moved[place] : own(name));
  const upper = second || isChange ? now(first, 0) : own(first), lower = second ? now(second, 1) : now(first, 0);
  drawMatrix($("matrix"), shown.order, { upper, lower, isChange }, places);
  const how = isChange ? ", the change of both" : view === "changed" && moved ? ", both changed" : "";
  const sides = second ? `${short(first)} above the diagonal, ${short(second)} below it${how}: `
    : isChange ? `The change of ${short(first)}'s correlations: ` : view === "changed" && moved ? `${short(first)}'s own above the diagonal, changed below it: ` : "";
  $("matrix-note").textContent = `${sides}${regions.length} regions. A click on a cell takes its edge to the controls.`;
  $("matrix").setAttribute("aria-label", `Correlations of ${regions.length} regions of ${performers().join(" and ")}. ${sides}`
    + (moved ? performers().map(farthest).join(" ") : "Nothing is changed."));
  brain?.join();
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
  const { regions, order } = shown.order;
  takeEdge(regions[order[point.y]], regions[order[point.x]]);
}

function takeEdge(first, second) {
  addKnob("edge", [first, second]);
  drawConnectome();
}

const about = () => ({ run: shown.run.name, version: shown.run.version, notice: shown.run.notice, verdict: shown.run.verdict.sentence,
  request: request(changeAsked(shown.run) ?? {}), link: hash() });

function taken() {
  return { ...about(), does_not_fit: shown.run.does_not_fit, block: shown.block, own: shown.own, changed: shown.changed };
}

// People whom the training has not seen stand first.
function people(select, more = []) {
  const { people: everyone, unseen } = shown.run, others = everyone.filter((name) => !unseen.includes(name));
  const groups = [["Not seen in training", unseen], ["Seen in training", others]].filter(([, names]) => names.length).map(([label, names]) => {
    const group = document.createElement("optgroup");
    group.label = label;
    group.append(...names.map((name) => new Option(name, name)));
    return group;
  });
  select.replaceChildren(...more.map(([value, words]) => new Option(words, value)), ...groups);
}

function describe(run) {
  document.title = `The live twin · ${run.name}`;
  $("run-name").textContent = ` · ${run.name}`;
  $("notice").textContent = run.notice;
  $("does-not-fit").textContent = (run.does_not_fit ?? "").replaceAll("`", "");
  $("misfit").hidden = !run.does_not_fit;
  const mark = document.createElement("span");
  mark.textContent = run.verdict.mark;
  mark.setAttribute("aria-hidden", "true");
  $("badge").classList.add(run.verdict.key);
  $("badge").replaceChildren(mark, ` ${run.verdict.badge}`);
  $("verdict").textContent = run.verdict.sentence;
  people($("person"));
  people($("other"), [["", "nobody"]]);
  fill($("bold-region"), run.bold_regions.map((name) => [name, name]));
  $("bold-region").parentElement.hidden = !run.bold_regions.length;
  const without = [...(run.bold_regions.length ? [] : ["bold", "measured"]), ...(new Set(run.networks).size > 1 ? [] : ["network"])];
  for (const option of $("colour").options) option.hidden = option.disabled = without.includes(option.value);
  if (!run.bold_regions.length) $("colour").value = "strength";
  $("regions").replaceChildren(...run.regions.map((name) => new Option("", name)));
  shown.order = { regions: run.regions, ...byNetwork(run.networks) };
  $("living").hidden = !run.is_living;
}

async function begin() {
  const run = (shown.run = await json("api/run"));
  describe(run);
  const place = () => Math.min(Number($("brain-of").value) || 0, performers().length - 1);
  brain = await anatomy(run, () => ({
    scenes: { own: shown.own, changed: shown.changed }, block: shown.block && shown.own ? shown.block : null, place: place(), second: shown.second, view: $("view").value,
    matrices: { own: shown.matrices[performers()[place()]], changed: shown.moved?.[place()] ?? null },
  }), { pick: (region) => picked(region), turn: remember });
  moment = player($("play"), $("second"), () => shown.block, follow);
  learning = living(() => ({ person: $("person").value, task: $("task").value }), remember);
  pair($("dose"), $("dose-number"), answer);
  for (const id of ["person", "other", "task", "block", "bold-region"]) $(id).addEventListener("change", refresh);
  $("trial").addEventListener("change", draw);
  for (const id of ["view", "brain-of"]) $(id).addEventListener("change", () => { drawConnectome(); remember(); });
  const knobsChanged = () => { drawConnectome(); answer(); };
  document.addEventListener("knob", (event) => (event.detail.moved ? answer() : knobsChanged()));
  $("add-edge").addEventListener("click", () => addKnob("edge").focus());
  $("add-region").addEventListener("click", () => addKnob("region").focus());
  $("reset").addEventListener("click", () => { undoAll(); knobsChanged(); });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("save-json").addEventListener("click", () => save("twin.json", "application/json", JSON.stringify(taken(), null, 1)));
  $("save-csv").addEventListener("click", () => save("twin.csv", "text/csv", asCsv(about(), shown.block, shown.own, performances())));
  $("copy-link").addEventListener("click", copy);
  for (const button of document.querySelectorAll("[data-png]")) {
    button.setAttribute("aria-label", `Save as PNG: ${button.closest("section").querySelector("h2").textContent}`);
    button.addEventListener("click", () => savePicture($(button.dataset.png), `twin-${button.dataset.png}`));
  }
  $("brain-png").addEventListener("click", () => brain.picture((image) => save("twin-brain.png", "image/png", image)));
  for (const id of ["person", "task", "block"]) $(id).addEventListener("change", moment.stop);
  const absent = location.hash.length > 1 ? restore(location.hash) : null;
  await refresh();
  if (absent) say(absent);
  // The address may have been written anew since: the event says where it went.
  window.addEventListener("hashchange", ({ newURL }) => { const missing = restore(new URL(newURL).hash); refresh().then(() => missing && say(missing)); });
  if (!shown.block) return;
  $("matrix").on("plotly_click", pickEdge);
  $("course").on("plotly_click", (event) => {
    const j = event.points[0].customdata?.[0];
    if (j === undefined) return;
    $("trial").value = String(j) === $("trial").value ? "" : String(j);
    draw();
  });
  for (const media of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(media).addEventListener("change", () => { draw(); drawConnectome(); learning.draw(); });
  }
}

// A region that is picked can be changed, alone or by its edge to the one picked before.
let before = null;
function picked(region) {
  const { regions } = shown.run;
  for (const id of ["pick-gain", "pick-edge"]) $(id).disabled = region === null;
  if (before !== null && region !== null && $("pick-edge").getAttribute("aria-pressed") === "true") takeEdge(regions[before], regions[region]);
  $("pick-edge").setAttribute("aria-pressed", "false");
  before = region;
}

$("pick-gain").addEventListener("click", () => addKnob("region", [$("picked").value]).focus());
$("pick-edge").addEventListener("click", () => {
  const isWaiting = $("pick-edge").getAttribute("aria-pressed") === "true";
  $("pick-edge").setAttribute("aria-pressed", String(!isWaiting));
});

begin().catch((error) => {
  say(error.message);
  delete document.body.dataset.waiting;
});
