// The brain that is turned by hand: a camera, what is under the pointer, and keys. What it shows is told to it (`show`).

import { renderer } from "./gl.js";

const CENTRE = [0, -18, 12], REACH = 106, TURN = Math.PI / 24;
export const SIDES = { left: [180, 0], right: [0, 0], above: [-90, 89.9], front: [90, 0], back: [-90, 0] };
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

// The cortex as the server packs it.
export function unpacked(bytes) {
  const [vertices, faces] = new Uint32Array(bytes, 0, 2);
  const places = Float32Array.from(new Int16Array(bytes, 8, 3 * vertices), (one) => one / 100);
  const regions = new Int16Array(bytes.slice(8 + 6 * vertices, 8 + 8 * vertices));
  const corners = new Uint16Array(bytes.slice(8 + 8 * vertices, 8 + 8 * vertices + 6 * faces));
  const folds = new Uint8Array(bytes, 8 + 8 * vertices + 6 * faces, vertices);
  return { places, regions, faces: corners, folds, normals: normals(places, corners) };
}

function normals(places, faces) {
  const found = new Float32Array(places.length), at = (v) => [places[3 * v], places[3 * v + 1], places[3 * v + 2]];
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [faces[f], faces[f + 1], faces[f + 2]].map(at), n = cross(minus(b, a), minus(c, a));
    for (let corner = 0; corner < 3; corner++) for (let axis = 0; axis < 3; axis++) found[3 * faces[f + corner] + axis] += n[axis];
  }
  return found;
}

// `on` is told what is pointed at (`hover`), what is picked (`pick`), both as the number of a region or null, and that the brain was turned.
export function brainView(canvas, cortex, places, on) {
  const drawn = renderer(canvas, cortex);
  if (!drawn) return null;
  const camera = { yaw: 205, pitch: 20, zoom: 1 };
  let glass = 1, radii = places.map(() => 0), waiting = false, hovered = null;

  function seen() {
    const [a, b] = [(camera.yaw * Math.PI) / 180, (camera.pitch * Math.PI) / 180];
    const toward = [Math.cos(b) * Math.cos(a), Math.cos(b) * Math.sin(a), Math.sin(b)], right = [-Math.sin(a), Math.cos(a), 0];
    const short = Math.min(canvas.clientWidth, canvas.clientHeight * 1.22) || 1, millimetre = (camera.zoom * short) / (2 * REACH);
    const scale = [(2 * millimetre) / canvas.clientWidth, (2 * millimetre) / canvas.clientHeight];
    return { toward, right, up: cross(toward, right), centre: CENTRE, scale, millimetre };
  }

  function draw() {
    waiting = false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((one) => Math.max(1, Math.round(one * ratio)));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    drawn.draw(seen(), cortex ? glass : 0);
  }

  function soon() {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  // The region at a place of the canvas: the nearest sphere that is met, or what of the surface is met where it is solid.
  function under(x, y) {
    const { toward, right, up, millimetre } = seen();
    const away = [(x - canvas.clientWidth / 2) / millimetre, (canvas.clientHeight / 2 - y) / millimetre];
    const from = CENTRE.map((one, axis) => one + away[0] * right[axis] + away[1] * up[axis] + 400 * toward[axis]);
    const found = { region: null, near: -Infinity };
    places.forEach((place, region) => {
      if (!place || !radii[region]) return;
      const way = minus(place, CENTRE), off = Math.hypot(dot(way, right) - away[0], dot(way, up) - away[1]);
      if (off <= radii[region] + 1.5 && dot(way, toward) > found.near) Object.assign(found, { region, near: dot(way, toward) });
    });
    return cortex && glass === 0 ? met(cortex, from, toward) ?? found.region : found.region;
  }

  const turned = () => { soon(); on.turn(); };
  const place = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  let held = null;
  canvas.addEventListener("pointerdown", (event) => { held = { at: place(event), moved: 0 }; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (held) {
      const [dx, dy] = [at[0] - held.at[0], at[1] - held.at[1]];
      held = { at, moved: held.moved + Math.hypot(dx, dy) };
      camera.yaw -= dx * 0.5;
      camera.pitch = Math.max(-89.9, Math.min(89.9, camera.pitch + dy * 0.5));
      return turned();
    }
    const region = under(...at);
    if (region !== hovered) on.hover(hovered = region);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (held && held.moved < 5) on.pick(under(...place(event)));
    held = null;
  });
  canvas.addEventListener("pointercancel", () => { held = null; });
  canvas.addEventListener("pointerleave", () => { if (hovered !== null) on.hover(hovered = null); });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls until the brain is in hand
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: [TURN, 0], ArrowRight: [-TURN, 0], ArrowUp: [0, TURN], ArrowDown: [0, -TURN] }[event.key];
    if (turn) {
      camera.yaw += (turn[0] * 180) / Math.PI;
      camera.pitch = Math.max(-89.9, Math.min(89.9, camera.pitch + (turn[1] * 180) / Math.PI));
      turned();
    } else if (event.key === "+" || event.key === "=") zoom(1.15);
    else if (event.key === "-") zoom(1 / 1.15);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(soon).observe(canvas);

  function zoom(by) {
    camera.zoom = Math.max(0.6, Math.min(6, camera.zoom * by));
    turned();
  }

  return {
    camera,
    from(side) { [camera.yaw, camera.pitch] = SIDES[side]; turned(); },
    // Where a region is seen on the canvas, in pixels.
    at(region) {
      const { right, up, millimetre } = seen(), way = minus(places[region], CENTRE);
      return [canvas.clientWidth / 2 + millimetre * dot(way, right), canvas.clientHeight / 2 - millimetre * dot(way, up)];
    },
    // Bytes of colour of each vertex, spheres and tubes, and how far the surface is seen through; spheres say whose region they are.
    show({ vertices, spheres, tubes, seeThrough }) {
      glass = seeThrough;
      radii = places.map(() => 0);
      for (const one of spheres) radii[one.region] = one.radius;
      if (vertices) drawn.colours(vertices);
      drawn.balls(spheres.map((one) => ({ from: places[one.region], to: places[one.region], ...one })));
      drawn.tubes(tubes);
      soon();
    },
    picture(done) { draw(); canvas.toBlob(done); },
    turned: soon,
  };
}

// The region of the surface that a ray meets first (Moeller and Trumbore 1997, J Graph Tools 2, 21); null beside it.
function met({ places, faces, regions }, from, toward) {
  const way = toward.map((one) => -one), at = (v) => [places[3 * v], places[3 * v + 1], places[3 * v + 2]];
  let nearest = Infinity, region = null;
  for (let f = 0; f < faces.length; f += 3) {
    const a = at(faces[f]), one = minus(at(faces[f + 1]), a), other = minus(at(faces[f + 2]), a);
    const p = cross(way, other), size = dot(one, p);
    if (Math.abs(size) < 1e-9) continue;
    const t = minus(from, a), u = dot(t, p) / size;
    if (u < 0 || u > 1) continue;
    const q = cross(t, one), v = dot(way, q) / size, far = dot(other, q) / size;
    if (v < 0 || u + v > 1 || far < 0 || far >= nearest) continue;
    nearest = far;
    region = regions[faces[f]];
  }
  return region === null || region < 0 ? null : region;
}
