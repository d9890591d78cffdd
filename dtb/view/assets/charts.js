// Draws what some twins did. A performance is {label, colour, own, performer}: `own` ones come from connectomes without any change.

const CHOICES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
// Of a lightness each, so that they differ for everybody's eyes; and each alternative has a pattern too.
const NAMED = { red: "#9c1430", green: "#58c98c", blue: "#2b6fc0", yellow: "#f4dc6c", orange: "#e07b1f" };
const PATTERNS = ["", "/", ".", "x", "\\", "+"];
export const SILENT = { displayModeBar: false, responsive: true, doubleClick: "reset" };

export const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const colourOf = (place) => style(`--task-${place}`);

export function choiceColour(names, place) {
  // Alternatives that are called after colours have them: anything else would be a Stroop task of its own.
  return names.every((name) => NAMED[name]) ? NAMED[names[place]] : CHOICES[place % CHOICES.length];
}

export function layout(more) {
  const axis = { gridcolor: style("--grid"), zeroline: false, linecolor: style("--quiet"), tickcolor: style("--quiet"), automargin: true };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 52, r: 12, t: 8, b: 42 }, hovermode: "closest",
    font: { family: "system-ui, 'Liberation Sans', sans-serif", size: 12.5, color: style("--ink") }, dragmode: false,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", xanchor: "left" },
    hoverlabel: { bgcolor: style("--surface"), font: { color: style("--ink") } },
  };
  const made = { ...base, ...more };
  for (const name of Object.keys(made).filter((key) => /^[xy]axis/.test(key))) made[name] = { ...axis, ...made[name] };
  return made;
}

export const title = (text) => ({ text, standoff: 6, font: { size: 12 } });

// Stimuli, who would choose what at each trial, and BOLD, above one another over the seconds of the run. All strips of choices share one
// axis, a row each: few axes and traces are what makes it fast enough to follow a hand.
export function drawCourse(place, block, performances, selected, moment) {
  const rows = [{ label: "pressed" }, ...performances.map((one) => ({ label: one.label, one }))];
  const hasBold = block.bold_seconds.length > 0;
  const heights = { stimulus: 24 + 13 * block.channels.length, strips: 56 * rows.length, bold: hasBold ? 150 : 0 };
  const gap = 16, whole = heights.stimulus + heights.strips + heights.bold + (hasBold ? 2 : 1) * gap;
  const domain = (from, height) => [1 - (from + height) / whole, 1 - from / whole];
  const centres = block.stimulus[0].map((_, step) => block.start + (step + 0.5) * block.step);
  const axes = {
    yaxis: { domain: domain(0, heights.stimulus), showgrid: false, tickfont: { size: 11 }, autorange: "reversed", fixedrange: true },
    yaxis2: {
      domain: domain(heights.stimulus + gap, heights.strips), range: [rows.length - 0.12, -0.12], showgrid: false, showline: false, ticks: "",
      fixedrange: true, tickvals: rows.map((_, number) => number + 0.42), tickfont: { size: 11 },
      ticktext: rows.map(({ label, one }) => `<span style="color:${one?.colour ?? style("--quiet")}">${label.replace(", ", "<br>")}</span>`),
    },
    xaxis: {
      title: title("seconds of the run"), range: [Math.max(block.counted_from, block.start) - 0.5, block.end], showgrid: false,
      anchor: hasBold ? "y3" : "y2", fixedrange: true,
    },
  };
  const traces = [{
    type: "heatmap", x: centres, y: block.channels, z: block.stimulus, showscale: false, zmin: 0, zmax: 1, ygap: 1,
    colorscale: [[0, style("--ground")], [1, style("--ink")]], hovertemplate: "%{y}: %{z:.2f} at %{x:.1f} s<extra></extra>",
  }, ...choiceTraces(block, rows, selected), pressTimes(block, rows)];
  if (hasBold) {
    axes.yaxis3 = { domain: domain(whole - heights.bold, heights.bold), title: title("BOLD, SD"), fixedrange: true };
    traces.push({
      type: "scatter", mode: "markers", name: "measured", showlegend: false, x: block.bold_seconds, y: block.bold, yaxis: "y3",
      marker: { color: style("--quiet"), size: 4, opacity: 0.7 }, hovertemplate: "measured %{y:.2f} at %{x:.1f} s<extra></extra>",
    });
    for (const one of performances) {
      traces.push({
        type: "scatter", mode: "lines", name: one.label, showlegend: false, x: block.bold_seconds, y: one.performer.bold, yaxis: "y3",
        line: { color: one.colour, dash: one.own ? "dash" : "solid", width: 2 }, hovertemplate: `%{y:.2f} at %{x:.1f} s<extra>${one.label}</extra>`,
      });
    }
  }
  const margin = { l: 72, r: 12, t: 30, b: 42 }, height = whole + margin.t + margin.b;
  place.style.height = `${height}px`;
  return Plotly.react(place, traces, layout({ ...axes, barmode: "overlay", height, margin, shapes: moment === null ? [] : [momentLine(moment)] }), SILENT);
}

const momentLine = (second) => ({ type: "line", x0: second, x1: second, yref: "paper", y0: 0, y1: 1, line: { color: style("--ink"), width: 1.5 } });

export const showMoment = (place, second) => Plotly.relayout(place, { shapes: [momentLine(second)] });

// When the person pressed, and when each twin is expected to: a mark in each row.
function pressTimes(block, rows) {
  const marks = rows.flatMap(({ label, one }, number) => block.trials.flatMap((trial, j) => {
    const rt = one ? one.performer.mean_rt[j] : trial.rt;
    return rt === null ? [] : [{ x: trial.onset + rt, number, told: `${label}: trial ${j + 1} ${one ? "expected" : "pressed"} after ${rt.toFixed(2)} s` }];
  }));
  return {
    type: "scatter", mode: "markers", name: "press", x: marks.map((mark) => mark.x), y: marks.map((mark) => mark.number + 0.42), yaxis: "y2",
    showlegend: true, marker: { symbol: "line-ns", size: 26, color: style("--ink"), line: { width: 2, color: style("--ink") } },
    text: marks.map((mark) => mark.told), hovertemplate: "%{text}<extra></extra>",
  };
}

// One trace an alternative, over all rows: bars that stand on those of the alternatives before it.
function choiceTraces(block, rows, selected) {
  const { trials } = block, names = [...block.alternatives, "no press"];
  const probabilities = rows.map(({ one }) => trials.map((trial, j) => {
    if (one) return [...one.performer.choice[j], one.performer.omission[j]];
    return names.map((name, a) => (a < block.alternatives.length ? Number(trial.choice.includes(name)) / (trial.choice.length || 1) : Number(!trial.choice.length)));
  }));
  const widths = trials.map(({ onset, window }, j) => 0.86 * Math.min(window, (trials[j + 1]?.onset ?? Infinity) - onset));
  return names.map((name, a) => {
    const bars = rows.flatMap(({ label }, number) => trials.map((trial, j) => {
      const below = probabilities[number][j].slice(a + 1).reduce((sum, one) => sum + one, 0), share = probabilities[number][j][a];
      return { trial, j, label, share, bottom: number + 0.84 * (1 - below), top: number + 0.84 * (1 - below - share) };
    }));
    return {
      type: "bar", name, x: bars.map((bar) => bar.trial.onset), offset: 0, width: bars.map((bar) => widths[bar.j]), yaxis: "y2",
      base: bars.map((bar) => bar.top), y: bars.map((bar) => bar.bottom - bar.top),
      marker: {
        color: a < block.alternatives.length ? choiceColour(block.alternatives, a) : style("--grid"),
        pattern: {
          shape: a < block.alternatives.length ? PATTERNS[a % PATTERNS.length] : "", fillmode: "overlay", fgcolor: "#000", fgopacity: 0.5, size: 6, solidity: 0.25,
        },
        opacity: selected === null ? 1 : bars.map((bar) => (bar.j === selected ? 1 : 0.35)), line: { width: 0 },
      },
      customdata: bars.map(({ trial, j, label, share }) => [j, j + 1, share, trial.condition ?? "", trial.correct.join(" or ") || "to withhold", label]),
      hovertemplate: `${name}: %{customdata[2]:.0%}<br>trial %{customdata[1]}, %{customdata[3]}<br>right: %{customdata[4]}<extra>%{customdata[5]}</extra>`,
    };
  });
}

const mean = (rows) => rows[0].map((_, g) => rows.reduce((sum, row) => sum + row[g], 0) / rows.length);

// Densities of reaction times, of one trial or averaged over the block's.
export function drawTimes(place, block, rtSeconds, performances, selected) {
  const trials = block.trials.map((_, j) => j).filter((j) => selected === null || j === selected);
  const seen = trials.map((j) => block.trials[j].rt).filter((rt) => rt !== null);
  const traces = trials.length ? performances.map((one) => ({
    type: "scatter", mode: "lines", name: one.label, x: rtSeconds, y: mean(trials.map((j) => one.performer.density[j])),
    line: { color: one.colour, dash: one.own ? "dash" : "solid", width: 2.2 }, hovertemplate: `%{y:.2f} per s at %{x:.2f} s<extra>${one.label}</extra>`,
  })) : [];
  // Windows may be far longer than anybody takes: the axis ends where all densities have faded.
  const peak = Math.max(0, ...traces.flatMap((trace) => trace.y));
  const last = rtSeconds.findLast((_, g) => traces.some((trace) => trace.y[g] > 0.01 * peak)) ?? 1;
  traces.push({
    type: "scatter", mode: "markers", name: "pressed", x: seen, y: seen.map(() => 0), cliponaxis: false,
    marker: { symbol: "line-ns", size: 14, line: { width: 1.6, color: style("--quiet") } }, hovertemplate: "pressed after %{x:.2f} s<extra></extra>",
  });
  return Plotly.react(place, traces, layout({
    height: 340, xaxis: { title: title("reaction time, s"), range: [0, 1.05 * Math.max(0.5, last, ...seen)], fixedrange: true },
    yaxis: { title: title("density, 1/s"), rangemode: "tozero", fixedrange: true },
  }), SILENT);
}

export const savePicture = (place, name) =>
  Plotly.downloadImage(place, { format: "png", scale: 2, filename: name, width: place.clientWidth, height: place.clientHeight });
