// Plays a block faster than it was: a line moves through it, and `follow` is told the trial that it is in, null between trials.

const SPEED = 4, STEP_MILLISECONDS = 125;

export function player(button, course, currentBlock, follow) {
  let timer = null, began = 0;

  function stop() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
    Plotly.relayout(course, { shapes: [] });
    follow(null);
  }

  function step() {
    const block = currentBlock(), now = Math.max(block.counted_from, 0) + (SPEED * (performance.now() - began)) / 1000;
    if (now >= block.end) return stop();
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
    Plotly.relayout(course, { shapes: [{ type: "line", x0: now, x1: now, yref: "paper", y0: 0, y1: 1, line: { color: ink, width: 1.5 } }] });
    const trial = block.trials.findLastIndex((one) => one.onset <= now && now < one.onset + one.window);
    follow(trial < 0 ? null : trial);
  }

  button.addEventListener("click", () => {
    if (timer !== null) return stop();
    began = performance.now();
    button.textContent = "Stop";
    timer = setInterval(step, STEP_MILLISECONDS);
  });
  return stop;
}
