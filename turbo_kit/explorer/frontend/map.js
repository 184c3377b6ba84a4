// The map: points stamped on one canvas, and above it a second one for what changes often (rings, lines, lasso).
// (Joined before widget.js by explorer/embedding_explorer.py.)

const RADIUS = 4.5; // of a marker, CSS pixels
const REACH = 12; // how far from a point the pointer may be
const OPAQUE = 255 << 24;
const CLICK = 4; // a drag shorter than this is a click

// The outline of each of matplotlib's marker letters that figures/style.py uses, in a square from -1 to 1, y down.
const OUTLINES = {
  s: [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
  "^": [[0, -1], [1, 0.85], [-1, 0.85]],
  v: [[0, 1], [1, -0.85], [-1, -0.85]],
  D: [[0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]],
  P: [[-0.36, -1], [0.36, -1], [0.36, -0.36], [1, -0.36], [1, 0.36], [0.36, 0.36], [0.36, 1], [-0.36, 1], [-0.36, 0.36],
    [-1, 0.36], [-1, -0.36], [-0.36, -0.36]],
  X: [[-0.5, -1], [0, -0.5], [0.5, -1], [1, -0.5], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5], [-0.5, 1], [-1, 0.5],
    [-0.5, 0], [-1, -0.5]],
  "*": Array.from({ length: 10 }, (_, i) => round(i, 10, i % 2 ? 0.5 : 1.25)),
  h: Array.from({ length: 6 }, (_, i) => round(i, 6, 1.05)),
};

function round(corner, corners, radius) {
  const angle = (2 * Math.PI * corner) / corners - Math.PI / 2;
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

function drawMarker(context, marker, x, y, radius) {
  context.beginPath();
  if (OUTLINES[marker]) {
    OUTLINES[marker].forEach(([dx, dy]) => context.lineTo(x + radius * dx, y + radius * dy));
    context.closePath();
  } else {
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
}

// A marker drawn once.
function sprite({ marker, colour }, radius, paper, alpha = 1) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 2 * Math.ceil(1.4 * radius + 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.globalAlpha = alpha;
  drawMarker(context, marker, canvas.width / 2, canvas.height / 2, radius);
  context.fillStyle = colour;
  context.fill();
  context.lineWidth = radius / 7;
  context.strokeStyle = paper;
  context.stroke();
  return canvas;
}

// A sprite as the pixels that it covers, to be stamped thousands of times: its colours and how much of each is seen.
// Twenty thousand calls of drawImage take a software canvas a tenth of a second; stamping takes a tenth of that.
function stampOf(canvas, across) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const pixels = [];
  for (let i = 0; i < width * height; i++) {
    const [red, green, blue, alpha] = data.subarray(4 * i, 4 * i + 4);
    if (alpha) pixels.push([Math.floor(i / width) * across + (i % width), (blue << 16) | (green << 8) | red, alpha]);
  }
  return [0, 1, 2].map((part) => Int32Array.from(pixels, (pixel) => pixel[part]));
}

function stamp(image, at, [offsets, colours, alphas]) {
  for (let k = 0; k < offsets.length; k++) {
    const [place, colour, alpha] = [at + offsets[k], colours[k], alphas[k] / 255];
    if (alpha === 1) {
      image[place] = OPAQUE | colour;
      continue;
    }
    const below = image[place];
    const red = mixed(below & 255, colour & 255, alpha);
    const green = mixed((below >> 8) & 255, (colour >> 8) & 255, alpha);
    const blue = mixed((below >> 16) & 255, (colour >> 16) & 255, alpha);
    image[place] = OPAQUE | (blue << 16) | (green << 8) | red;
  }
}

function mixed(below, above, alpha) {
  return (below + alpha * (above - below)) | 0;
}

// Any CSS colour as a pixel: alpha, blue, green, red from the highest byte down.
function pixelOf(colour) {
  const context = make("canvas", { width: 1, height: 1 }).getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return OPAQUE | (blue << 16) | (green << 8) | red;
}

class PointMap {
  // `tell` has hover(point), pick(point), lasso(points), and appear() for when the map is first on the page; a point
  // is its row, -1 for none.
  constructor(holder, tell) {
    this.tell = tell;
    this.base = holder.appendChild(document.createElement("canvas"));
    this.top = holder.appendChild(document.createElement("canvas"));
    this.base.setAttribute("aria-hidden", "true");
    this.points = new Float32Array(0); // x and y of each, in the map's own units, y up
    this.codes = new Uint16Array(0); // which look each has
    this.shown = [];
    this.chosen = new Set();
    this.links = []; // [from, to, dashed]
    this.hovered = this.selected = -1;
    this.lassoing = false;
    this.camera = { x: 0, y: 0, scale: 1 };
    this.listen();
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(holder);
  }

  setLooks(looks, codes, shown, theme) {
    Object.assign(this, { looks, codes, shown, theme });
    const radius = RADIUS * devicePixelRatio;
    this.sprites = looks.map((look) => sprite(look, radius, theme.paper));
    this.faded = looks.map((look) => sprite(look, radius, theme.paper, 0.22));
    this.image = undefined;
    this.redraw();
  }

  // The picture that points are stamped into: a margin around what is seen spares every stamp the question of edges.
  prepare() {
    this.margin = this.sprites[0].width;
    const across = this.base.width + 2 * this.margin;
    this.image = new ImageData(across, this.base.height + 2 * this.margin);
    this.stamps = this.sprites.map((one) => stampOf(one, across));
    this.fadedStamps = this.faded.map((one) => stampOf(one, across));
    this.paper = pixelOf(this.theme.paper);
  }

  setPoints(points) {
    this.points = points;
    this.redraw();
  }

  resize() {
    const { clientWidth, clientHeight } = this.base.parentElement;
    if (!clientWidth) return;
    const before = this.width;
    [this.width, this.height] = [clientWidth, clientHeight];
    for (const canvas of [this.base, this.top]) {
      canvas.width = Math.round(clientWidth * devicePixelRatio);
      canvas.height = Math.round(clientHeight * devicePixelRatio);
    }
    this.image = undefined;
    if (!before) this.tell.appear();
    if (!this.moved) this.fit();
    this.redraw();
  }

  // All of `extent` ({low, high}: corners over every frame), so that nothing leaves the map while frames change.
  fit() {
    const { low, high } = this.extent;
    const room = 3 * RADIUS;
    const spans = [(this.width - 2 * room) / (high[0] - low[0] || 1), (this.height - 2 * room) / (high[1] - low[1] || 1)];
    this.camera = { x: (low[0] + high[0]) / 2, y: (low[1] + high[1]) / 2, scale: Math.min(...spans) };
    this.moved = false;
    this.redraw();
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const { camera } = this;
    const scale = camera.scale * factor;
    // What lies under the pointer stays there.
    camera.x += (x - this.width / 2) * (1 / camera.scale - 1 / scale);
    camera.y -= (y - this.height / 2) * (1 / camera.scale - 1 / scale);
    camera.scale = scale;
    this.moved = true;
    this.redraw();
  }

  pan(dx, dy) {
    this.camera.x -= dx / this.camera.scale;
    this.camera.y += dy / this.camera.scale;
    this.moved = true;
    this.redraw();
  }

  place(point) {
    const { x, y, scale } = this.camera;
    return [
      (this.points[2 * point] - x) * scale + this.width / 2,
      (y - this.points[2 * point + 1]) * scale + this.height / 2,
    ];
  }

  isShown(point) {
    return this.shown[this.codes[point]];
  }

  // Draws at most once a frame of the screen, however often it is asked; `above` alone where no point has moved.
  redraw(above = false) {
    this.stale ||= !above;
    this.pending ??= requestAnimationFrame(() => {
      this.pending = undefined;
      if (!this.width || !this.sprites) return;
      if (this.stale) this.drawPoints();
      this.stale = false;
      this.drawAbove();
    });
  }

  drawPoints() {
    if (!this.image) this.prepare();
    const { points, codes, shown, stamps, fadedStamps, chosen, margin } = this;
    const { width, height } = this.base;
    const pixels = new Int32Array(this.image.data.buffer);
    pixels.fill(this.paper);
    const scale = this.camera.scale * devicePixelRatio;
    // Where a stamp's corner goes, in the picture with its margin.
    const left = width / 2 - this.camera.x * scale + margin / 2;
    const up = height / 2 + this.camera.y * scale + margin / 2;
    for (let i = 0; i < codes.length; i++) {
      if (!shown[codes[i]]) continue;
      const x = Math.round(left + points[2 * i] * scale);
      const y = Math.round(up - points[2 * i + 1] * scale);
      if (x < 0 || y < 0 || x > width + margin || y > height + margin) continue;
      stamp(pixels, y * this.image.width + x, (chosen.size && !chosen.has(i) ? fadedStamps : stamps)[codes[i]]);
    }
    this.base.getContext("2d").putImageData(this.image, -margin, -margin);
  }

  drawAbove() {
    const context = this.top.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.strokeStyle = this.theme.ink;
    for (const [from, to, dashed] of this.links) {
      if (!this.isShown(to)) continue;
      context.setLineDash(dashed ? [4, 4] : []);
      context.beginPath();
      context.moveTo(...this.place(from));
      context.lineTo(...this.place(to));
      context.stroke();
    }
    context.setLineDash([]);
    this.ring(context, this.selected, RADIUS + 5, 2.5);
    this.ring(context, this.hovered, RADIUS + 3, 1.5);
    if (this.trail) {
      context.setLineDash([5, 4]);
      context.beginPath();
      this.trail.forEach(([x, y]) => context.lineTo(x, y));
      context.closePath();
      context.stroke();
      context.setLineDash([]);
    }
  }

  ring(context, point, radius, width) {
    if (point < 0 || point >= this.codes.length || !this.isShown(point)) return;
    const [x, y] = this.place(point);
    context.lineWidth = width;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
    context.lineWidth = 1;
    // The point itself once more, so that it is not hidden by others.
    const { width: size } = this.sprites[0];
    const stamp = size / devicePixelRatio;
    context.drawImage(this.sprites[this.codes[point]], x - stamp / 2, y - stamp / 2, stamp, stamp);
  }

  nearest(x, y, reach = REACH) {
    let [best, least] = [-1, reach ** 2];
    for (let i = 0; i < this.codes.length; i++) {
      if (!this.isShown(i)) continue;
      const [px, py] = this.place(i);
      const away = (px - x) ** 2 + (py - y) ** 2;
      if (away < least) [best, least] = [i, away];
    }
    return best;
  }

  // The nearest point within 45 degrees of a direction; those straight ahead are preferred.
  neighbourTowards(from, dx, dy) {
    const [x, y] = this.place(from);
    let [best, least] = [-1, Infinity];
    for (let i = 0; i < this.codes.length; i++) {
      if (i === from || !this.isShown(i)) continue;
      const [px, py] = this.place(i);
      const ahead = (px - x) * dx + (py - y) * dy;
      const aside = Math.abs((px - x) * dy - (py - y) * dx);
      if (ahead > 0 && aside <= ahead && ahead + aside < least) [best, least] = [i, ahead + aside];
    }
    return best;
  }

  // Moves the map where a point would lie outside of it.
  reveal(point) {
    const [x, y] = this.place(point);
    const room = 20;
    const dx = Math.max(room - x, 0) + Math.min(this.width - room - x, 0);
    const dy = Math.max(room - y, 0) + Math.min(this.height - room - y, 0);
    if (dx || dy) this.pan(dx, dy);
  }

  inside(trail) {
    const found = [];
    for (let i = 0; i < this.codes.length; i++) {
      if (!this.isShown(i)) continue;
      const [x, y] = this.place(i);
      let within = false;
      for (let a = 0, b = trail.length - 1; a < trail.length; b = a++) {
        const [[xa, ya], [xb, yb]] = [trail[a], trail[b]];
        if (ya > y !== yb > y && x < ((xb - xa) * (y - ya)) / (yb - ya) + xa) within = !within;
      }
      if (within) found.push(i);
    }
    return found;
  }

  listen() {
    let drag; // where it began and was last
    const at = (event) => [event.offsetX, event.offsetY];
    this.top.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      this.top.setPointerCapture(event.pointerId);
      drag = { start: at(event), last: at(event), far: false, lasso: event.shiftKey || this.lassoing };
    });
    this.top.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (!drag) {
        this.hover(this.nearest(x, y));
        return;
      }
      drag.far ||= Math.hypot(x - drag.start[0], y - drag.start[1]) > CLICK;
      if (!drag.far) return;
      this.hover(-1);
      if (drag.lasso) {
        (this.trail ??= [drag.start]).push([x, y]);
        this.redraw(true);
      } else {
        this.pan(x - drag.last[0], y - drag.last[1]);
      }
      drag.last = [x, y];
    });
    const end = (event, cancelled) => {
      if (!drag) return;
      const [trail, far] = [this.trail, drag.far];
      drag = this.trail = undefined;
      if (cancelled) this.redraw();
      else if (trail) this.tell.lasso(this.inside(trail));
      else if (!far) this.tell.pick(this.nearest(...at(event)));
      this.redraw(true);
    };
    this.top.addEventListener("pointerup", (event) => end(event, false));
    this.top.addEventListener("pointercancel", (event) => end(event, true));
    this.top.addEventListener("pointerleave", () => this.hover(-1));
    this.top.addEventListener("dblclick", () => this.fit());
    this.top.addEventListener(
      "wheel",
      (event) => {
        // A map that is only passed while a notebook scrolls stays as it is.
        if (document.activeElement !== this.top && this.top.getRootNode().activeElement !== this.top && !event.ctrlKey) return;
        event.preventDefault();
        this.zoom(1.002 ** -event.deltaY, ...at(event));
      },
      { passive: false },
    );
  }

  hover(point) {
    if (point === this.hovered) return;
    this.hovered = point;
    this.redraw(true);
    this.tell.hover(point);
  }
}
