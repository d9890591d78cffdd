// Figures of the block as a table, and how they are written.

export const FIGURES = { mean_rt: ["Reaction time", "s", 3], condition_rt: ["Condition effect", "s", 3], accuracy: ["Right answers", "%", 1] };

export function text(kind, value) {
  const [, unit, digits] = FIGURES[kind];
  return value === null || value === undefined ? "–" : `${(unit === "%" ? 100 * value : value).toFixed(digits).replace("-", "−")} ${unit}`;
}

function cell(kind, content, className = "") {
  const made = document.createElement(kind);
  made.className = className;
  made.append(content);
  if (kind === "th") made.scope = "col";
  return made;
}

export function drawTable(table, all, block, who) {
  const head = document.createElement("tr");
  head.append(cell("th", "In this block"), cell("th", `${who} did`, "number"));
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
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...rows);
}
