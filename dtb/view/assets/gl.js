// Draws a surface, spheres and tubes with WebGL 2, in parallel projection: no library, for no more than this is needed.

const HEAD = `#version 300 es
precision highp float;
`;
// What is seen: `basis` has the directions to the right, upwards and towards whoever looks, `scale` how much of the picture a millimetre is.
const CAMERA = `uniform mat3 basis; uniform vec3 centre; uniform vec2 scale;
vec4 seen(vec3 place) { vec3 q = (place - centre) * basis; return vec4(q.xy * scale, -q.z / 400.0, 1.0); }
`;
const SURFACE = [`${HEAD}${CAMERA}in vec3 place; in vec3 normal; in vec3 colour; in float fold; out vec3 turned; out vec3 tint; out float depth;
void main() { gl_Position = seen(place); turned = normal * basis; tint = colour; depth = fold; }`, `${HEAD}
in vec3 turned; in vec3 tint; in float depth; uniform float glass; out vec4 pixel;
void main() {
  vec3 n = normalize(turned);
  float edge = pow(1.0 - abs(n.z), 2.0);
  float light = 0.46 + 0.42 * max(dot(n, normalize(vec3(-0.25, 0.55, 0.8))), 0.0) + 0.16 * max(n.z, 0.0) - 0.14 * (depth - 0.4);
  float alpha = mix(1.0, 0.05 + 0.4 * edge, glass);
  pixel = vec4(tint * mix(light, 0.85, glass) * alpha, alpha);
}`];
// A sphere is a tube whose ends are one place.
const SHAPES = [`${HEAD}${CAMERA}in vec4 offset; in vec3 from; in vec3 to; in float radius; in vec3 colour; out vec3 turned; out vec3 tint;
void main() {
  vec3 along = to - from, n = offset.xyz;
  if (dot(along, along) > 0.0) {
    vec3 z = normalize(along), x = normalize(cross(z, abs(z.z) < 0.9 ? vec3(0, 0, 1) : vec3(1, 0, 0)));
    n = mat3(x, cross(z, x), z) * n;
  }
  gl_Position = seen(mix(from, to, offset.w) + radius * n);
  turned = n * basis; tint = colour;
}`, `${HEAD}in vec3 turned; in vec3 tint; out vec4 pixel;
void main() {
  vec3 n = normalize(turned);
  pixel = vec4(tint * (0.5 + 0.45 * max(dot(n, normalize(vec3(-0.25, 0.55, 0.8))), 0.0) + 0.12 * max(n.z, 0.0)), 1.0);
}`];

function program(gl, [vertex, fragment]) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made) ?? "WebGL cannot compile");
  return made;
}

// One attribute of a program; `each` makes it one of every sphere or tube and not of every corner.
function attribute(gl, of, name, size, data, each = 0, type = gl.FLOAT) {
  const buffer = gl.createBuffer(), place = gl.getAttribLocation(of, name);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, data, gl.DYNAMIC_DRAW);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, size, type, type === gl.UNSIGNED_BYTE, 0, 0);
  gl.vertexAttribDivisor(place, each);
  return (changed) => { gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.bufferData(gl.ARRAY_BUFFER, changed, gl.DYNAMIC_DRAW); };
}

function ball(rings = 8, around = 12) {
  const corners = [], faces = [];
  for (let i = 0; i <= rings; i++) {
    for (let j = 0; j <= around; j++) {
      const a = (Math.PI * i) / rings, b = (2 * Math.PI * j) / around;
      corners.push(Math.sin(a) * Math.cos(b), Math.sin(a) * Math.sin(b), Math.cos(a), 0);
    }
  }
  return { corners, faces: quads(rings, around, faces) };
}

function pipe(around = 10) {
  const corners = [];
  for (const end of [0, 1]) for (let j = 0; j <= around; j++) corners.push(Math.cos((2 * Math.PI * j) / around), Math.sin((2 * Math.PI * j) / around), 0, end);
  return { corners, faces: quads(1, around, []) };
}

function quads(rows, columns, faces) {
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const a = i * (columns + 1) + j, b = a + columns + 1;
      faces.push(a, b, a + 1, a + 1, b, b + 1);
    }
  }
  return faces;
}

function elements(gl, faces) {
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint16Array(faces), gl.STATIC_DRAW);
  return faces.length;
}

function shapes(gl, of, { corners, faces }) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  attribute(gl, of, "offset", 4, new Float32Array(corners));
  const sizes = { from: 3, to: 3, radius: 1, colour: 3 };
  const put = Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, attribute(gl, of, name, size, new Float32Array(size), 1)]));
  const count = elements(gl, faces);
  let number = 0;
  return {
    // Lists of {from, to, radius, colour}, places in millimetres and colours from 0 to 1.
    set(list) {
      number = list.length;
      for (const [name, size] of Object.entries(sizes)) put[name](new Float32Array(list.flatMap((one) => (size === 1 ? [one[name]] : one[name]))));
    },
    draw() {
      gl.bindVertexArray(array);
      if (number) gl.drawElementsInstanced(gl.TRIANGLES, count, gl.UNSIGNED_SHORT, 0, number);
    },
  };
}

// What draws on a canvas; null where there is no WebGL 2. `cortex` is {places, normals, faces, folds}, or null.
export function renderer(canvas, cortex) {
  const gl = canvas.getContext("webgl2", { antialias: true, premultipliedAlpha: true, alpha: true });
  if (!gl) return null;
  const forSurface = program(gl, SURFACE), forShapes = program(gl, SHAPES);
  const balls = shapes(gl, forShapes, ball()), pipes = shapes(gl, forShapes, pipe());
  let surface = null;
  if (cortex) {
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    attribute(gl, forSurface, "place", 3, cortex.places);
    attribute(gl, forSurface, "normal", 3, cortex.normals);
    attribute(gl, forSurface, "fold", 1, cortex.folds, 0, gl.UNSIGNED_BYTE);
    const colour = attribute(gl, forSurface, "colour", 3, new Uint8Array(cortex.places.length), 0, gl.UNSIGNED_BYTE);
    surface = { array, colour, count: elements(gl, cortex.faces) };
  }
  gl.enable(gl.DEPTH_TEST);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  function look(of, { right, up, toward, centre, scale }) {
    gl.useProgram(of);
    gl.uniformMatrix3fv(gl.getUniformLocation(of, "basis"), false, [...right, ...up, ...toward]);
    gl.uniform3fv(gl.getUniformLocation(of, "centre"), centre);
    gl.uniform2fv(gl.getUniformLocation(of, "scale"), scale);
  }

  return {
    colours: (bytes) => surface?.colour(bytes),
    balls: balls.set,
    tubes: pipes.set,
    // `glass` from 0, a solid surface, to 1, one that is seen through.
    draw(camera, glass) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.depthMask(true);
      gl.disable(gl.BLEND);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      look(forShapes, camera);
      balls.draw();
      pipes.draw();
      if (!surface) return;
      look(forSurface, camera);
      gl.uniform1f(gl.getUniformLocation(forSurface, "glass"), glass);
      if (glass > 0) { gl.enable(gl.BLEND); gl.depthMask(false); }
      gl.bindVertexArray(surface.array);
      gl.drawElements(gl.TRIANGLES, surface.count, gl.UNSIGNED_SHORT, 0);
    },
  };
}
