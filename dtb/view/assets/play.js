// The moment of the block that is looked at: a slider, and a play that moves it faster than it was.

const SPEED = 4, STEP_MILLISECONDS = 125;

// The trial that a second is in; null between trials.
export function trialAt(block, second) {
  const trial = block.trials.findLastIndex((one) => one.onset <= second && second < one.onset + one.window);
  return trial < 0 ? null : trial;
}

// `moved` is told the second and the trial that it is in, null between trials, and whether the block plays.
export function player(button, slider, currentBlock, moved) {
  let timer = null, began = 0, from = 0;
  function at(second, plays) {
    const block = currentBlock();
    slider.value = second;
    slider.setAttribute("aria-valuetext", `${second.toFixed(1)} s of the run`);
    moved(second, trialAt(block, second), plays);
  }

  function stop() {
    if (timer === null) return;
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
    at(Number(slider.value), false);
  }

  function step() {
    const block = currentBlock(), now = from + (SPEED * (performance.now() - began)) / 1000;
    if (now >= block.end) {
      slider.value = block.end;
      return stop();
    }
    at(now, true);
  }

  button.addEventListener("click", () => {
    if (timer !== null) return stop();
    const block = currentBlock(), now = Number(slider.value);
    from = now >= block.end - 0.5 ? begin(block) : now;
    began = performance.now();
    button.textContent = "Stop";
    timer = setInterval(step, STEP_MILLISECONDS);
  });
  slider.addEventListener("input", () => {
    if (timer !== null) [from, began] = [Number(slider.value), performance.now()];
    else at(Number(slider.value), false);
  });
  return {
    stop,
    // Another block: the moment goes to its middle, or to a second that is asked for.
    reset(second = null) {
      stop();
      const block = currentBlock();
      Object.assign(slider, { min: begin(block), max: block.end, step: 0.1 });
      const fits = second !== null && second >= begin(block) && second <= block.end;
      at(fits ? second : (begin(block) + block.end) / 2, false);
    },
  };
}

const begin = (block) => Math.max(block.counted_from, block.start);
