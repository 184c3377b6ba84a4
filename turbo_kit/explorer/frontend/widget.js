// The embedding explorer: a map of clips that shows, plays and compares them, by pointer and by keyboard.
//
// One front end for two homes. In a notebook `model` is anywidget's, and the kernel answers its messages; in an exported
// page it is a stand-in of a few lines (exported_page.html.j2).

const MOVE = 700; // milliseconds that a change of frame takes
const PAUSE = 900; // and how long each frame stands while they play
const ROWS = 200; // the table shows at most so many of the chosen clips
const STEP = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function render({ model, el }) {
  const data = unpack(model);
  const view = build(data);
  el.classList.add("turbo-embedding");
  el.dataset.lmSuppressShortcuts = "true"; // the arrow keys are the map's, and not JupyterLab's
  el.append(...view.parts);
  const explorer = new Explorer(model, data, view);
  return () => explorer.close();
}

function unpack(model) {
  const numbers = (name, Kind) => {
    const { buffer, byteOffset, byteLength } = model.get(name);
    return new Kind(buffer.slice(byteOffset, byteOffset + byteLength)); // a copy, since its place may be unaligned
  };
  const names = ["title", "clips", "classes", "frames", "looks", "about_neighbours", "about_sound"];
  const data = Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const count = data.clips.id.length;
  const positions = numbers("positions", Float32Array);
  const predicted = numbers("predicted", Int16Array);
  data.count = count;
  data.positions = data.frames.map((_, f) => positions.subarray(2 * count * f, 2 * count * (f + 1)));
  data.predicted = data.frames.map((_, f) => predicted.subarray(count * f, count * (f + 1)));
  data.neighbours = numbers("neighbours", Int32Array);
  data.similarities = numbers("similarities", Float32Array);
  return data;
}

// What is known of a clip in a frame.
function clipFacts(data, clip, frame) {
  const of = (column) => data.clips[column]?.[clip];
  const [label, predicted] = [of("label"), data.classes[data.predicted[frame][clip]]];
  const right = label == null ? "unlabelled" : label === predicted ? "right" : "wrong";
  const values = { id: of("id"), speaker: of("speaker"), split: of("split"), transcript: of("transcript") };
  return { ...values, label: label ?? "unlabelled", predicted, error: right };
}

// ---- what they do -------------------------------------------------------------------------------------------------

class Explorer {
  constructor(model, data, view) {
    Object.assign(this, { model, data, view });
    this.hidden = Object.fromEntries(Object.keys(data.looks).map((name) => [name, new Set()]));
    this.map = new PointMap(view.map, {
      hover: (clip) => this.showTip(clip),
      pick: (clip) => this.select(clip, true),
      lasso: (clips) => this.put("chosen", clips),
      appear: () => this.recolour(), // what is not on the page yet knows nothing of its theme: a notebook adds it later
    });
    view.map.append(view.tip);
    const hint = "Arrow keys go to the next clip in that direction, Enter plays it, Space chooses it; + and - zoom.";
    Object.assign(this.map.top, { tabIndex: 0, role: "application", ariaLabel: `Map: ${data.title}. ${hint}` });
    this.map.extent = extentOf(data.positions);
    this.shownPoints = data.positions[this.frame].slice();
    this.listen();
    this.recolour();
    this.map.setPoints(this.shownPoints);
    this.showFrame();
    this.showSelected();
    this.showChosen();
  }

  get frame() {
    return this.model.get("frame");
  }

  get selected() {
    return this.model.get("selected");
  }

  // State lives in the model; what follows from it is done where the model says that it has changed.
  put(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  listen() {
    const { view, map, model } = this;
    const changes = {
      "change:frame": () => this.showFrame(),
      "change:selected": () => this.showSelected(),
      "change:chosen": () => this.showChosen(),
      "msg:custom": (message, buffers) => this.receive(message, buffers),
    };
    for (const [event, act] of Object.entries(changes)) model.on(event, act);
    const themed = () => this.recolour();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", themed);
    const lab = new MutationObserver(themed); // JupyterLab tells its theme on the body
    lab.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
    this.close = () => {
      for (const [event, act] of Object.entries(changes)) model.off(event, act);
      dark.removeEventListener("change", themed);
      lab.disconnect();
      map.watcher.disconnect();
      clearTimeout(this.playing);
      view.sound.pause();
      URL.revokeObjectURL(view.sound.src);
    };
    view.colour.onchange = () => this.recolour();
    view.lasso.onclick = () => {
      map.lassoing = !map.lassoing;
      view.lasso.setAttribute("aria-pressed", map.lassoing);
    };
    view.closer.onclick = () => map.zoom(1.4);
    view.farther.onclick = () => map.zoom(1 / 1.4);
    view.reset.onclick = () => map.fit();
    view.frame.oninput = () => this.put("frame", Number(view.frame.value));
    view.play.onclick = () => (this.playing ? this.stopFrames() : this.playFrames());
    map.top.addEventListener("keydown", (event) => this.press(event));
  }

  press(event) {
    const { map, selected } = this;
    const chosen = this.model.get("chosen");
    const other = { "+": () => map.zoom(1.4), "=": () => map.zoom(1.4), "-": () => map.zoom(1 / 1.4), 0: () => map.fit() };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (STEP[event.key]) {
      const first = map.nearest(map.width / 2, map.height / 2, Infinity);
      this.select(selected < 0 ? first : map.neighbourTowards(selected, ...STEP[event.key]), false);
    } else if (event.key === "Enter") {
      this.select(selected, true);
    } else if (event.key === " " && selected >= 0) {
      this.put("chosen", chosen.includes(selected) ? chosen.filter((clip) => clip !== selected) : [...chosen, selected]);
    } else if (other[event.key]) {
      other[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  }

  // ---- colours and frames

  recolour() {
    const { data, view, map } = this;
    const name = view.colour.value;
    const style = getComputedStyle(view.map);
    const theme = Object.fromEntries(["ink", "paper", "muted"].map((tone) => [tone, style.getPropertyValue(`--${tone}`)]));
    const looks = data.looks[name].map((look) => ({ ...look, colour: look.colour || theme.muted }));
    const place = new Map(looks.map((look, i) => [look.name, i]));
    const codes = Uint16Array.from({ length: data.count }, (_, i) => place.get(clipFacts(data, i, this.frame)[name]));
    map.setLooks(looks, codes, looks.map((look) => !this.hidden[name].has(look.name)), theme);
    this.showLegend(name, looks, codes, theme);
  }

  showLegend(name, looks, codes, theme) {
    const { legend } = this.view;
    const counts = looks.map(() => 0);
    for (const code of codes) counts[code]++;
    const held = [...legend.children].findIndex((item) => item.contains(document.activeElement ?? null));
    legend.replaceChildren(
      ...looks.map((look, i) => {
        const swatch = make("canvas", { width: 32, height: 32 });
        const context = swatch.getContext("2d");
        context.drawImage(sprite(look, 10, theme.paper), 1, 1);
        const count = make("span", { className: "count", textContent: counts[i] });
        const toggle = make("button", { type: "button" }, swatch, make("span", { textContent: look.name }), count);
        toggle.setAttribute("aria-pressed", !this.hidden[name].has(look.name));
        toggle.onclick = () => {
          if (!this.hidden[name].delete(look.name)) this.hidden[name].add(look.name);
          this.recolour();
        };
        return make("li", {}, toggle);
      }),
    );
    legend.children[held]?.firstChild.focus(); // a legend made anew keeps the keyboard's place
  }

  showFrame() {
    const { data, view, frame } = this;
    view.frame.value = frame;
    view.frame.setAttribute("aria-valuetext", data.frames[frame]);
    view.frameName.textContent = data.frames[frame];
    if (view.colour.value === "error") this.recolour();
    this.glide(data.positions[frame]);
    this.showDetail();
    this.showChosen();
  }

  glide(goal) {
    cancelAnimationFrame(this.gliding);
    const from = this.shownPoints.slice();
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const began = performance.now();
    const step = (now) => {
      const share = calm ? 1 : Math.min(1, Math.max(0, now - began) / MOVE);
      const eased = share * share * (3 - 2 * share);
      for (let i = 0; i < goal.length; i++) this.shownPoints[i] = from[i] + eased * (goal[i] - from[i]);
      this.map.setPoints(this.shownPoints);
      this.showTip(this.map.hovered); // it goes with its clip, and tells of the new frame
      if (share < 1) this.gliding = requestAnimationFrame(step);
    };
    step(began);
  }

  playFrames() {
    const last = this.data.frames.length - 1;
    if (this.frame === last) this.put("frame", 0);
    const next = () => {
      if (this.frame === last) return this.stopFrames();
      this.put("frame", this.frame + 1);
      this.playing = setTimeout(next, MOVE + PAUSE);
    };
    this.playing = setTimeout(next, PAUSE);
    this.labelPlay("❚❚", "Stop the frames");
  }

  stopFrames() {
    clearTimeout(this.playing);
    this.playing = undefined;
    this.labelPlay("▶", "Play the frames");
  }

  labelPlay(text, title) {
    Object.assign(this.view.play, { textContent: text, title, ariaLabel: title });
  }

  // ---- one clip

  showTip(clip) {
    const { map, view } = this;
    const { tip } = view;
    tip.hidden = clip < 0 || !map.isShown(clip);
    if (tip.hidden) return;
    const [x, y] = map.place(clip);
    const facts = clipFacts(this.data, clip, this.frame);
    tip.replaceChildren(
      make("strong", { textContent: facts.transcript ?? facts.id }),
      make("span", { textContent: `speaker ${facts.speaker}` }),
      make("span", { textContent: `label ${facts.label}, predicted ${facts.predicted} (${facts.error})` }),
    );
    tip.style.left = `${Math.min(Math.max(x, 110), map.width - 110)}px`;
    tip.style.top = `${y}px`;
    tip.classList.toggle("below", y < 90);
  }

  select(clip, play) {
    if (clip < 0) return;
    this.wantsSound = play;
    if (clip !== this.selected) {
      this.put("selected", clip);
    } else if (play) {
      this.view.sound.currentTime = 0;
      this.start();
    }
  }

  showSelected() {
    const { data, view, map, selected } = this;
    view.detail.classList.toggle("empty", selected < 0);
    map.selected = selected;
    view.sound.pause();
    if (selected >= 0) map.reveal(selected);
    this.showDetail();
    if (selected < 0) return;
    view.soundNote.textContent = data.about_sound;
    view.sound.hidden = view.spectrogram.hidden = Boolean(data.about_sound);
    if (!data.about_sound) this.model.send({ kind: "sound", clip: selected });
  }

  showDetail() {
    const { data, view, map, selected, frame } = this;
    map.links = [];
    map.redraw(true);
    if (selected < 0) {
      view.status.textContent = "";
      view.facts.replaceChildren(make("p", { className: "note", textContent: "Click a clip, or move to one with the arrow keys." }));
      return;
    }
    const facts = clipFacts(data, selected, frame);
    const words = facts.transcript ? ` “${facts.transcript}”` : "";
    view.status.textContent =
      `Selected: ${facts.id}, speaker ${facts.speaker}.${words} Label ${facts.label}, predicted ${facts.predicted}, ${facts.error}.`;
    const rows = ["id", "speaker", "label", "predicted", "split"].flatMap((name) => [
      make("dt", { textContent: name }),
      make("dd", { textContent: name === "predicted" ? `${facts.predicted} (${facts.error})` : facts[name] }),
    ]);
    view.facts.replaceChildren(make("p", { className: "transcript", textContent: facts.transcript ?? facts.id }));
    view.facts.append(make("dl", {}, ...rows));
    this.showNeighbours();
  }

  showNeighbours() {
    const { data, view, map, selected, frame } = this;
    const frames = data.about_neighbours.frames;
    const shown = data.neighbours.length / (frames * 2 * data.count);
    const at = (way) => (((frames > 1 ? frame : 0) * 2 + way) * data.count + selected) * shown;
    const list = (way, title) => {
      const items = Array.from({ length: shown }, (_, k) => {
        const clip = data.neighbours[at(way) + k];
        map.links.push([selected, clip, way === 1]);
        return make("li", {}, this.clipButton(clip, data.similarities[at(way) + k]));
      });
      return [make("p", { className: "head", textContent: title }), make("ol", { "aria-label": title }, ...items)];
    };
    const lists = shown ? [...list(0, "Texts nearest to its audio (solid lines)"), ...list(1, "Audio nearest to its text (dashed)")] : [];
    view.neighbours.replaceChildren(...lists, make("p", { className: "note", textContent: data.about_neighbours.said }));
  }

  clipButton(clip, cosine) {
    const facts = clipFacts(this.data, clip, this.frame);
    const own = clip === this.selected ? "its own: " : "";
    const close = make("span", { className: "count", textContent: `${facts.label} ${cosine.toFixed(2)}` });
    const said = facts.transcript ?? facts.id;
    const words = make("span", { className: "words", textContent: own + said });
    const title = `${said}\n${facts.id}, speaker ${facts.speaker}`; // all of what two lines may have to cut
    const button = make("button", { type: "button", title }, words, close);
    button.onclick = () => this.select(clip, true);
    return button;
  }

  // ---- sound

  async receive(message, buffers) {
    const { view } = this;
    if (message.kind !== "sound" || message.clip !== this.selected) return;
    URL.revokeObjectURL(view.sound.src);
    if (message.error) {
      view.soundNote.textContent = message.error;
      return;
    }
    const { buffer, byteOffset, byteLength } = buffers[0];
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    view.sound.src = URL.createObjectURL(new Blob([bytes], { type: message.type }));
    if (this.wantsSound) this.start();
    try {
      const samples = await decoded(bytes);
      if (message.clip !== this.selected) return; // another one was selected meanwhile
      drawSpectrogram(view.spectrogram, samples);
      const seconds = (samples.length / RATE).toFixed(1);
      view.spectrogram.ariaLabel = `Spectrogram of ${seconds} seconds`;
      view.soundNote.textContent = `Log-mel spectrogram: ${seconds} s across, 0 to ${RATE / 2000} kHz upwards.`;
    } catch {
      view.soundNote.textContent = "This browser cannot decode the clip.";
    }
  }

  start() {
    this.view.sound.play().catch(() => {}); // refused where nobody has touched the page yet: the player's button is there
  }

  // ---- the chosen clips

  showChosen() {
    const { data, view, map, frame } = this;
    const chosen = this.model.get("chosen");
    map.chosen = new Set(chosen);
    map.redraw();
    if (!chosen.length) {
      const hint = "Drag with Shift (or press Lasso) to choose clips; they are listed here.";
      view.chosen.replaceChildren(make("p", { className: "note", textContent: hint }));
      return;
    }
    const clear = make("button", { type: "button", textContent: "Clear" });
    clear.onclick = () => this.put("chosen", []);
    const wrong = chosen.filter((clip) => clipFacts(data, clip, frame).error === "wrong").length;
    const more = chosen.length > ROWS ? ` The first ${ROWS} are listed.` : "";
    const said = `${chosen.length} clip${chosen.length > 1 ? "s" : ""} chosen, ${wrong} of them wrong.${more} `;
    const columns = ["id", "speaker", "label", "predicted", "error", "transcript"].filter((name) => name !== "transcript" || data.clips.transcript);
    const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col", textContent: COLOURINGS[name] ?? name })));
    const rows = chosen.slice(0, ROWS).map((clip) => {
      const facts = clipFacts(data, clip, frame);
      const play = make("button", { type: "button", textContent: facts.id, title: "Play" });
      play.onclick = () => this.select(clip, true);
      const cells = columns.slice(1).map((name) => make("td", { className: `of-${name}`, textContent: facts[name] }));
      return make("tr", {}, make("td", {}, play), ...cells);
    });
    view.chosen.replaceChildren(make("p", {}, said, clear), make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  }
}

function extentOf(frames) {
  const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
  for (const points of frames) {
    for (let i = 0; i < points.length; i++) {
      low[i % 2] = Math.min(low[i % 2], points[i]);
      high[i % 2] = Math.max(high[i % 2], points[i]);
    }
  }
  return { low, high };
}

export default { render };
