// The living twin: how what the twin believes of a person moves and narrows as the person's own trials come in.

import { layout, SILENT, style, title, colourOf } from "./charts.js";
import { json, latest } from "./http.js";

const $ = (id) => document.getElementById(id);
const FIGURES = { mean_rt: ["reaction time, s", 1, "s", 3], condition_rt: ["condition effect, s", 1, "s", 3], accuracy: ["right answers, %", 100, "%", 1] };
const LARGEST_BYTES = 300_000, POINTS = [0, 1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 70, 100, 150, 200];
const KINDS = [["with_connectome", "with the connectome"], ["without", "without"]];

// `current` gives {person, task}; `changed` is called when the number of trials given is another.
export function living(current, changed) {
  let isSeen = false, events = null, known = new Map(), subject = "", shown = null;
  const slider = $("given"), key = () => JSON.stringify([events?.name ?? current().person, events?.text.length ?? 0, current().task]);
  const question = (trials) => ({ task: current().task, trials, ...(events ? { events: events.text } : { person: current().person }) });

  async function learn(trials) {
    if (!known.has(trials)) {
      const [mine, cache] = [subject, known], reply = await json("api/living", question(trials));
      cache.set(trials, reply);
      if (mine !== subject) return null;
    }
    return known.get(trials);
  }

  // The number that the slider stands at; then, while nobody asks for another, points for the curve.
  const ask = latest(async () => {
    try {
      if (subject !== key()) {
        subject = key();
        known = new Map();
      }
      const trials = Number(slider.value), first = known.size ? null : await learn(0);
      if (first) {
        slider.max = first.most;
        if (trials > first.most) slider.value = first.most;
      }
      shown = await learn(Math.min(trials, Number(slider.max)));
      if (shown) draw();
      return shown !== null;
    } catch (error) {
      shown = null;
      known = new Map();
      subject = "";
      fail(error.message);
      return false;
    }
  }, async (isLast) => {
    for (const point of [...POINTS, Number(slider.max)]) {
      if (!isLast() || subject !== key()) return;
      if (point > Number(slider.max) || known.has(point)) continue;
      try {
        if (await learn(point)) draw();
      } catch {
        return; // what is wrong is told when it is asked for
      }
    }
  }, $("living"));

  function fail(why) {
    $("belief-words").textContent = why;
    $("belief-words").classList.add("notice");
    for (const id of ["belief", "narrowing"]) if ($(id).data) Plotly.purge($(id));
  }

  function draw() {
    if (!shown) return;
    $("belief-words").classList.remove("notice");
    const kind = $("belief-of").value, [axis, factor] = FIGURES[kind], there = KINDS.filter(([name]) => shown[name]);
    const place = (belief) => [belief.mean[kind], Math.max(belief.sd[kind] ?? 0, 1e-4)].map((value) => factor * value);
    const all = [...known.values()].flatMap((one) => there.map(([name]) => place(one[name])));
    const did = shown.did[kind] === null ? null : factor * shown.did[kind];
    const low = Math.min(...all.map(([mean, sd]) => mean - 2.6 * sd), did ?? Infinity), high = Math.max(...all.map(([mean, sd]) => mean + 2.6 * sd), did ?? -Infinity);
    const at = Array.from({ length: 160 }, (_, g) => low + ((high - low) * g) / 159);
    const colours = { with_connectome: colourOf(0), without: style("--quiet") };
    const densities = there.map(([name, words]) => {
      const [mean, sd] = place(shown[name]);
      return {
        type: "scatter", mode: "lines", name: words, x: at, y: at.map((x) => Math.exp(-0.5 * ((x - mean) / sd) ** 2) / (sd * Math.sqrt(2 * Math.PI))),
        line: { color: colours[name], width: 2.2, dash: name === "without" ? "dash" : "solid" }, hovertemplate: `%{x:.3f}<extra>${words}</extra>`,
      };
    });
    const given = kind === "mean_rt" ? shown.rt.slice(0, shown.given).filter((rt) => rt !== null && rt >= low && rt <= high) : [];
    densities.push({
      type: "scatter", mode: "markers", name: "own presses given", x: given, y: given.map(() => 0), cliponaxis: false, showlegend: given.length > 0,
      marker: { symbol: "line-ns", size: 14, line: { width: 1.6, color: colours.with_connectome } }, hovertemplate: "pressed after %{x:.2f} s<extra></extra>",
    });
    const line = did === null ? [] : [{ type: "line", x0: did, x1: did, yref: "paper", y0: 0, y1: 1, line: { color: style("--ink"), width: 1.5, dash: "dot" } }];
    Plotly.react($("belief"), densities, layout({
      height: 300, shapes: line, xaxis: { title: title(axis), range: [low, high], fixedrange: true }, yaxis: { title: title("how likely"), showticklabels: false, rangemode: "tozero", fixedrange: true },
    }), SILENT);
    narrowing(kind, factor, axis, there, colours, did);
    words(kind, did);
  }

  function narrowing(kind, factor, axis, there, colours, did) {
    const numbers = [...known.keys()].sort((a, b) => a - b);
    const traces = there.flatMap(([name, words]) => {
      const points = numbers.map((number) => [number, factor * known.get(number)[name].mean[kind], factor * known.get(number)[name].sd[kind]]);
      const band = [...points.map(([x, mean, sd]) => [x, mean + 1.645 * sd]), ...points.toReversed().map(([x, mean, sd]) => [x, mean - 1.645 * sd])];
      const colour = colours[name], dash = name === "without" ? "dash" : "solid";
      return [
        { type: "scatter", mode: "lines", x: band.map(([x]) => x), y: band.map(([, y]) => y), fill: "toself", line: { width: 0 }, fillcolor: colour, opacity: 0.16, hoverinfo: "skip", showlegend: false },
        { type: "scatter", mode: "lines+markers", name: words, x: points.map(([x]) => x), y: points.map(([, y]) => y), line: { color: colour, width: 2, dash },
          marker: { size: 4 }, hovertemplate: `%{y:.3f} after %{x} trials<extra>${words}</extra>` },
      ];
    });
    const shapes = [{ type: "line", x0: shown.given, x1: shown.given, yref: "paper", y0: 0, y1: 1, line: { color: style("--ink"), width: 1 } }];
    if (did !== null) shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: did, y1: did, line: { color: style("--ink"), width: 1.5, dash: "dot" } });
    Plotly.react($("narrowing"), traces, layout({
      height: 300, shapes, xaxis: { title: title("own trials given"), range: [-0.3, shown.most + 0.3], fixedrange: true }, yaxis: { title: title(axis), fixedrange: true },
    }), SILENT);
  }

  function words(kind, did) {
    const [, factor, unit, digits] = FIGURES[kind];
    const said = (value) => (value === null ? "–" : (factor * value).toFixed(digits).replace("-", "−"));
    const each = KINDS.filter(([name]) => shown[name]).map(([name, how]) => {
      const belief = shown[name];
      return `${how} ${said(belief.mean[kind])} ± ${said(belief.sd[kind])} ${unit} (${Math.round(100 * belief.variance_left)} % of the variance of the person is left)`;
    });
    const who = events ? `The events in ${events.name}` : current().person;
    $("given-number").textContent = `${shown.given} of ${shown.most}`;
    slider.setAttribute("aria-valuetext", `${shown.given} of ${shown.most} trials`);
    $("belief-words").textContent = `${who}, ${current().task}, after ${shown.given} own trials: ${each.join("; ")}. `
      + `${did === null ? "" : `In the ${shown.later} later trials it was ${(did).toFixed(digits)} ${unit}.`}`
      + `${shown.unusable.length ? ` Not used: ${shown.unusable.join("; ")}.` : ""}${events ? " No connectome is known." : ""}`;
    for (const [id, what] of [["belief", "Where the twin believes the later trials lie"], ["narrowing", "The same after each number of own trials, with 90 % bands"]]) {
      $(id).setAttribute("aria-label", `${what}. ${$("belief-words").textContent}`);
    }
  }

  async function take(file) {
    if (!file) return;
    if (file.size > LARGEST_BYTES) return fail(`${file.name} has ${file.size.toLocaleString("en")} bytes; an events file may have ${LARGEST_BYTES.toLocaleString("en")}.`);
    events = { name: file.name, text: await file.text() };
    $("own-file").textContent = `${file.name}, read as ${current().task}`;
    $("forget").hidden = false;
    slider.value = 0;
    await ask();
  }

  const drop = $("living"), file = $("events");
  file.addEventListener("change", () => take(file.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("dropping", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  }
  $("forget").addEventListener("click", () => {
    events = null;
    file.value = "";
    $("own-file").textContent = "";
    $("forget").hidden = true;
    ask();
  });
  slider.addEventListener("input", () => { $("given-number").textContent = slider.value; ask(); changed(); });
  $("belief-of").addEventListener("change", draw);
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; $("give").textContent = "Give one by one"; };
  $("give").addEventListener("click", () => {
    if (timer !== null) return stop();
    if (slider.value === slider.max) slider.value = 0;
    $("give").textContent = "Stop";
    timer = setInterval(() => {
      if ("waiting" in $("living").dataset && !known.has(Number(slider.value))) return; // one after the other: the last is not answered yet
      if (slider.value === slider.max) return stop();
      slider.value = Number(slider.value) + 1;
      slider.dispatchEvent(new Event("input"));
    }, 300);
  });
  // Nothing is asked until somebody looks.
  const look = () => (isSeen ? ask() : undefined);
  new IntersectionObserver((entries) => { isSeen = entries.at(-1).isIntersecting; look(); }).observe($("living"));
  return { look, draw };
}
