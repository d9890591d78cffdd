// The controls that change a connectome: sliders with a number beside each, regions picked by name.

const $ = (id) => document.getElementById(id);
const tell = (moved) => document.dispatchEvent(new CustomEvent("knob", { detail: { moved } }));

// Says what is wrong with an input; it stays until that is mended, whatever is answered meanwhile.
function complain(words) {
  delete $("problem").dataset.answer;
  $("problem").hidden = !words;
  $("problem").textContent = words;
}

// Keeps a slider and its number alike; `changed` is called for values that are allowed.
export function pair(slider, number, changed) {
  slider.addEventListener("input", () => {
    number.value = slider.value;
    number.removeAttribute("aria-invalid");
    changed();
  });
  number.addEventListener("input", () => {
    const fits = number.value !== "" && Number(number.value) >= Number(number.min) && Number(number.value) <= Number(number.max);
    number.setAttribute("aria-invalid", String(!fits));
    complain(fits ? "" : `${number.getAttribute("aria-label")}: a number from ${number.min} to ${number.max}.`);
    if (fits) {
      slider.value = number.value;
      changed();
    }
  });
}

// Adds an edge or a region; an empty knob of the kind is filled before another is made. Gives its slider.
export function addKnob(kind, names = []) {
  const empty = [...document.querySelectorAll(`.knob.${kind}`)].find((one) => [...inputs(one)].every((input) => !input.value));
  const knob = (names.length && empty) || make(kind);
  inputs(knob).forEach((input, place) => { input.value = names[place] ?? ""; });
  return names.length ? knob.querySelector('[type="range"]') : inputs(knob)[0];
}

const inputs = (knob) => knob.querySelectorAll("input[list]");

function make(kind) {
  const knob = $(`${kind}-knob`).content.firstElementChild.cloneNode(true);
  const [slider, number] = knob.querySelectorAll(".slide input");
  pair(slider, number, () => tell(true));
  for (const input of inputs(knob)) {
    input.addEventListener("change", () => {
      const known = input.value === "" || [...$("regions").options].some((one) => one.value === input.value);
      input.setAttribute("aria-invalid", String(!known));
      complain(known ? "" : `There is no region “${input.value}”. Choose one from the list that opens while you type.`);
      if (known) tell(false);
    });
  }
  knob.querySelector(".remove").addEventListener("click", () => {
    knob.remove();
    complain("");
    tell(false);
  });
  $("knobs").append(knob);
  return knob;
}

const settings = (run, kind) =>
  [...document.querySelectorAll(`.knob.${kind}`)]
    .map((knob) => ({ knob, names: [...inputs(knob)].map((input) => input.value), value: Number(knob.querySelector('[type="range"]').value) }))
    .filter(({ names }) => names.every((name) => run.regions.includes(name)) && new Set(names).size === names.length);

export const edgesAsked = (run) => settings(run, "edge").map(({ names: [first, second], value }) => ({ first, second, by: value }));

export const gainsAsked = (run) => settings(run, "region").map(({ names: [region], value }) => ({ region, gain: value }));

// A knob as a link has it: with its regions and its value.
export function setKnob(kind, names, value) {
  const slider = addKnob(kind, names), number = slider.closest(".slide").querySelector('[type="number"]');
  slider.value = number.value = value;
}

// What is asked of the connectome; null if it is to stay as it is.
export function changeAsked(run) {
  const edges = edgesAsked(run), dose = Number($("dose").value);
  const gains = gainsAsked(run);
  const asks = dose !== 0 || edges.some((one) => one.by !== 0) || gains.some((one) => one.gain !== 1);
  return asks ? { edges, gains, dose } : null;
}

// Says beside each edge where it came from and where it is.
export function showMoves(scene) {
  const moves = scene?.performers[0].connectome.edges ?? [];
  const knobs = [...document.querySelectorAll(".knob.edge")].filter((knob) => new Set([...inputs(knob)].map((one) => one.value)).size === 2);
  for (const note of document.querySelectorAll(".came")) note.textContent = "";
  moves.forEach(([before, after], place) => {
    if (knobs[place]) knobs[place].querySelector(".came").textContent = `Correlation ${before.toFixed(2)} → ${after.toFixed(2)}`;
  });
}

export function undoAll() {
  $("knobs").replaceChildren();
  $("dose").value = $("dose-number").value = 0;
  for (const input of document.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  complain("");
}
