// The page's state and its link: kept in the address while hands move, taken from it when the page opens.

import { edgesAsked, gainsAsked, setKnob, undoAll } from "./changes.js";
import { asHash, fromHash } from "./link.js";

const $ = (id) => document.getElementById(id);

// `shown` is what the page shows, `brain` gives its panel of the brain.
export function linked(shown, brain) {
  let remembering = null;

  // The whole state of the page, as its link has it.
  function state() {
    const { run } = shown, value = (id) => $(id).value;
    return {
      person: value("person"), other: value("other"), task: value("task"), block: value("block"), trial: value("trial"), region: value("bold-region"),
      dose: Number(value("dose")) || null, edges: edgesAsked(run), gains: gainsAsked(run), view: $("view").disabled ? null : value("view"),
      colour: value("colour"), joined: value("edges-shown"), cortex: value("cortex"), second: Number(shown.second.toFixed(1)),
      given: value("given"), figure: value("belief-of"), camera: brain()?.camera() ?? null,
    };
  }

  function remember() {
    clearTimeout(remembering);
    remembering = setTimeout(() => history.replaceState(null, "", asHash(state())), 250);
  }

  // Puts the page into the state of a link; what this run has not stays as it is, and is told.
  function restore(hash) {
    clearTimeout(remembering);
    const wanted = fromHash(hash), absent = [];
    const put = (id, value) => {
      if (value === undefined) return;
      if ([...$(id).options].some((one) => one.value === value && !one.disabled)) $(id).value = value;
      else absent.push(value);
    };
    const names = { person: "person", other: "other", "bold-region": "region", colour: "colour", "edges-shown": "joined", cortex: "cortex", "belief-of": "figure" };
    for (const [id, name] of Object.entries(names)) put(id, wanted[name] ?? (id === "other" ? "" : undefined));
    undoAll();
    if (wanted.dose !== undefined) $("dose").value = $("dose-number").value = Number(wanted.dose) || 0;
    for (const { first, second, by } of wanted.edges) setKnob("edge", [first, second], by);
    for (const { region, gain } of wanted.gains) setKnob("region", [region], gain);
    if (wanted.given !== undefined) $("given").max = Math.max(Number($("given").max), Number(wanted.given) || 0);
    if (wanted.given !== undefined) $("given").value = Number(wanted.given) || 0;
    shown.wanted = { task: wanted.task, block: wanted.block, trial: wanted.trial, second: wanted.second };
    if (["change", "changed", "own"].includes(wanted.view)) shown.wantedView = wanted.view;
    shown.block = null;
    brain()?.turnTo(wanted.camera);
    return absent.length ? `The link speaks of what this run has not: ${absent.join(", ")}.` : null;
  }

  async function copy() {
    history.replaceState(null, "", asHash(state()));
    try {
      await navigator.clipboard.writeText(location.href);
      $("copied").textContent = "Copied: it opens where `dtb view` runs with this page's key.";
    } catch {
      $("copied").textContent = "The address of this page is the link.";
    }
  }

  return { hash: () => asHash(state()), remember, restore, copy };
}
