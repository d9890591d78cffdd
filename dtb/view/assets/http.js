// What the page asks of the server, and how often: while one answer is awaited only the last question waits.

export async function fetched(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is `dtb view` still running?");
  }
  if (answer.ok) return answer;
  const text = await answer.text();
  throw new Error(answer.status === 401 ? "This page's key is no longer valid. Open the address that `dtb view` printed last." : reason(text));
}

function reason(text) {
  try {
    const { detail } = JSON.parse(text);
    return typeof detail === "string" ? detail : detail.map((one) => `${one.loc.slice(1).join(".")}: ${one.msg}`).join("; ");
  } catch {
    return text || "The server could not answer.";
  }
}

export const json = async (path, body) => (await fetched(path, body)).json();

// Calls `work` at once, or as soon as the call before it is done; calls in between are dropped. If the work was done, `afterwards` does what
// may wait until nobody asks for more; it is given a way to know whether somebody asked since, whom it does not hold up. Until all that is
// done the page, or the `place` on it, says that it waits.
export function latest(work, afterwards, place = document.body) {
  let running = false, again = false, asked = 0;
  return async function ask() {
    asked += 1;
    if (running) {
      again = true;
      return;
    }
    running = true;
    place.dataset.waiting = "";
    let done = false;
    try {
      do {
        again = false;
        done = await work();
      } while (again);
    } finally {
      running = false;
    }
    const mine = asked, isLast = () => asked === mine;
    if (done) await afterwards(isLast);
    if (isLast()) delete place.dataset.waiting;
  };
}
