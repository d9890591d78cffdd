// What is shown, as files.

export function save(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

const quoted = (value) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value ?? ""));

// One row a number: person, connectome (measured, own or changed), quantity, trial (from 1), seconds, value. The first rows say of what and
// under which request, as `about` names it.
export function asCsv(about, block, scene, performances) {
  const rows = [["person", "connectome", "quantity", "trial", "seconds", "value"]];
  for (const [name, value] of Object.entries(about)) rows.push(["", "", name, "", "", typeof value === "string" ? value : JSON.stringify(value)]);
  block.trials.forEach((trial, j) => rows.push([block.person, "measured", "rt", j + 1, trial.onset, trial.rt]));
  block.trials.forEach((trial, j) => rows.push([block.person, "measured", "choice", j + 1, trial.onset, trial.choice.join("|")]));
  block.bold.forEach((value, v) => rows.push([block.person, "measured", `bold ${block.bold_region}`, "", block.bold_seconds[v], value]));
  for (const { name, state, performer } of performances) {
    const start = [name, state || "own"];
    block.trials.forEach((trial, j) => {
      block.alternatives.forEach((choice, a) => rows.push([...start, `probability of ${choice}`, j + 1, trial.onset, performer.choice[j][a]]));
      rows.push([...start, "probability of no press", j + 1, trial.onset, performer.omission[j]]);
      rows.push([...start, "mean rt", j + 1, trial.onset, performer.mean_rt[j]]);
      scene.rt_seconds.forEach((seconds, g) => rows.push([...start, "rt density", j + 1, seconds, performer.density[j][g]]));
    });
    performer.bold.forEach((value, v) => rows.push([...start, `bold ${block.bold_region}`, "", block.bold_seconds[v], value]));
  }
  return rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}
