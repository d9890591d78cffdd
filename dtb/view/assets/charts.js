// Draws what some twins did. A performance is {label, colour, own, performer}: `own` ones come from connectomes without any change.

const CHOICES = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
const NAMED = { red: "#d1495b", green: "#2a9d62", blue: "#2f7fc4", yellow: "#e0b13f", orange: "#e07b1f" };
const SILENT = { displayModeBar: false, responsive: true, doubleClick: "reset" };

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const colourOf = (place) => style(`--task-${place}`);

export function choiceColour(names, place) {
  // Alternatives that are called after colours have them: anything else would be a Stroop task of its own.
  return names.every((name) => NAMED[name]) ? NAMED[names[place]] : CHOICES[place % CHOICES.length];
}

function layout(more) {
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

const title = (text) => ({ text, standoff: 6, font: { size: 12 } });

// Stimuli, who would choose what at each trial, and BOLD, above one another over the seconds of the run.
export function drawCourse(place, block, performances, selected) {
  const rows = [{ label: "pressed", chosen: true }, ...performances.map((one) => ({ label: one.label, one }))];
  const hasBold = block.bold_seconds.length > 0;
  const share = { stimulus: 24 + 13 * block.channels.length, strip: 46, bold: hasBold ? 150 : 0, gap: 12 };
  const whole = share.stimulus + rows.length * (share.strip + share.gap) + (hasBold ? share.bold + 2 * share.gap : 0);
  const traces = [], axes = {}, notes = [];
  let top = whole;
  const domain = (height) => {
    const made = [Math.max(0, (top - height) / whole), top / whole];
    top -= height + share.gap;
    return made;
  };
  const centres = block.stimulus[0].map((_, step) => block.start + (step + 0.5) * block.step);
  axes.yaxis = { domain: domain(share.stimulus), showgrid: false, tickfont: { size: 11 }, autorange: "reversed", fixedrange: true };
  traces.push({
    type: "heatmap", x: centres, y: block.channels, z: block.stimulus, showscale: false, zmin: 0, zmax: 1, ygap: 1,
    colorscale: [[0, style("--ground")], [1, style("--ink")]], hovertemplate: "%{y}: %{z:.2f} at %{x:.1f} s<extra></extra>",
  });
  const onsets = block.trials.map((trial) => trial.onset);
  const widths = onsets.map((onset, j) => 0.86 * Math.min(block.trials[j].window, (onsets[j + 1] ?? Infinity) - onset));
  const names = [...block.alternatives, "no press"];
  rows.forEach((row, number) => {
    const axis = `y${number + 2}`;
    axes[`yaxis${number + 2}`] = {
      domain: domain(share.strip), range: [0, 1], showticklabels: false, showgrid: false, fixedrange: true,
      ticks: "", zeroline: false, showline: false,
    };
    const [bottom, ceiling] = axes[`yaxis${number + 2}`].domain;
    notes.push({
      text: row.label.replace(", ", "<br>"), x: 0, xref: "paper", xanchor: "right", xshift: -6, y: (bottom + ceiling) / 2, yref: "paper",
      yanchor: "middle", showarrow: false, align: "right", font: { size: 11, color: row.one?.colour ?? style("--quiet") },
    });
    names.forEach((name, a) => {
      const isPress = a < block.alternatives.length;
      const heights = block.trials.map((trial, j) => {
        if (!row.chosen) return isPress ? row.one.performer.choice[j][a] : row.one.performer.omission[j];
        return isPress ? (trial.choice.includes(name) ? 1 / trial.choice.length : 0) : Number(!trial.choice.length);
      });
      traces.push({
        type: "bar", name, legendgroup: name, showlegend: number === 0, x: onsets, y: heights, width: widths, offset: 0, yaxis: axis,
        marker: {
          color: isPress ? choiceColour(block.alternatives, a) : style("--grid"),
          opacity: selected === null ? 1 : onsets.map((_, j) => (j === selected ? 1 : 0.35)), line: { width: 0 },
        },
        customdata: block.trials.map((trial, j) => [j, trial.condition ?? "", trial.correct.join(" or ") || "to withhold"]),
        hovertemplate: `${name}: %{y:.0%}<br>trial %{customdata[0]}, %{customdata[1]}<br>right: %{customdata[2]}<extra>${row.label}</extra>`,
      });
    });
  });
  if (hasBold) {
    top -= share.gap;
    const number = rows.length + 2;
    axes[`yaxis${number}`] = { domain: [0, Math.max(top / whole, 0.05)], title: title("BOLD, SD"), fixedrange: true };
    traces.push({
      type: "scatter", mode: "markers", name: "measured", showlegend: false, x: block.bold_seconds, y: block.bold, yaxis: `y${number}`,
      marker: { color: style("--quiet"), size: 4, opacity: 0.7 }, hovertemplate: "measured %{y:.2f} at %{x:.1f} s<extra></extra>",
    });
    for (const one of performances) {
      traces.push({
        type: "scatter", mode: "lines", name: one.label, showlegend: false, x: block.bold_seconds, y: one.performer.bold, yaxis: `y${number}`,
        line: { color: one.colour, dash: one.own ? "dash" : "solid", width: 2 }, hovertemplate: `%{y:.2f} at %{x:.1f} s<extra>${one.label}</extra>`,
      });
    }
  }
  axes.xaxis = {
    title: title("seconds of the run"), range: [Math.max(block.counted_from, block.start) - 0.5, block.end], showgrid: false,
    anchor: hasBold ? `y${rows.length + 2}` : `y${rows.length + 1}`, fixedrange: true,
  };
  place.style.height = `${whole + 90}px`;
  return Plotly.react(place, traces, layout({ ...axes, annotations: notes, barmode: "stack", height: whole + 90, margin: { l: 72, r: 12, t: 30, b: 42 } }), SILENT);
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

// One matrix; with two people, one of them on either side of the diagonal.
export function drawMatrix(place, regions, upper, lower, edges) {
  const size = regions.length;
  const z = Array.from({ length: size }, (_, i) => Float32Array.from({ length: size }, (_, j) => (i <= j ? upper : lower)[i * size + j]));
  const places = edges.flatMap(([a, b]) => [[a, b], [b, a]]);
  const ticks = { showticklabels: false, ticks: "", showgrid: false, fixedrange: true, zeroline: false };
  return Plotly.react(place, [
    {
      type: "heatmap", z, zmin: -1, zmax: 1, colorscale: "RdBu", reversescale: false, colorbar: { thickness: 10, outlinewidth: 0, title: { text: "r" } },
      customdata: z.map((_, i) => regions.map((name) => [regions[i], name])), hovertemplate: "%{customdata[0]} – %{customdata[1]}: %{z:.2f}<extra></extra>",
    },
    {
      type: "scatter", mode: "markers", x: places.map((pair) => pair[1]), y: places.map((pair) => pair[0]), hoverinfo: "skip",
      marker: { symbol: "square-open", size: 9, color: style("--ink"), line: { width: 2 } }, showlegend: false,
    },
  ], layout({ height: 340, margin: { l: 10, r: 10, t: 10, b: 10 }, xaxis: { ...ticks, constrain: "domain" },
    yaxis: { ...ticks, autorange: "reversed", scaleanchor: "x", constrain: "domain" } }), SILENT);
}

export const savePicture = (place, name) =>
  Plotly.downloadImage(place, { format: "png", scale: 2, filename: name, width: place.clientWidth, height: place.clientHeight });
