// The parts of the explorer's page. What comes from a corpus is only ever set as textContent.
// (Joined before widget.js by explorer/embedding_explorer.py.)

const COLOURINGS = { label: "label", speaker: "speaker", error: "right or wrong", split: "split" };

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

function build(data) {
  const button = (text, title, more = {}) => make("button", { type: "button", textContent: text, title, ...more });
  const choices = Object.keys(COLOURINGS).filter((name) => name in data.looks);
  const view = {
    colour: make("select", {}, ...choices.map((value) => make("option", { value, textContent: COLOURINGS[value] }))),
    lasso: button("Lasso", "Draw around clips to choose them (or drag with Shift)", { "aria-pressed": "false" }),
    closer: button("+", "Zoom in (+)", { "aria-label": "Zoom in" }),
    farther: button("−", "Zoom out (-)", { "aria-label": "Zoom out" }),
    reset: button("Reset", "Show the whole map (0, or a double click)", { "aria-label": "Reset the view" }),
    map: make("div", { className: "map" }),
    tip: make("div", { className: "tip", hidden: true }),
    play: button("▶", "Play the frames", { "aria-label": "Play the frames", className: "run" }),
    frame: make("input", { type: "range", min: 0, max: data.frames.length - 1, step: 1, "aria-label": "Frame" }),
    frameName: make("output"),
    legend: make("ul", { className: "legend", "aria-label": "Classes: press one to hide or show it" }),
    status: make("p", { className: "status", role: "status", "aria-live": "polite" }),
    facts: make("div", { className: "facts" }),
    sound: make("audio", { controls: true, "aria-label": "The selected clip" }),
    spectrogram: make("canvas", { className: "spectrogram", role: "img", "aria-label": "Spectrogram" }),
    soundNote: make("p", { className: "note" }),
    neighbours: make("div", { className: "neighbours" }),
    chosen: make("div", { className: "chosen", role: "region", "aria-label": "Chosen clips" }),
  };
  view.chosen.tabIndex = 0;
  view.map.append(view.tip);
  const tools = [make("label", {}, "Colour by ", view.colour), view.lasso, view.closer, view.farther, view.reset];
  const frames = make("div", { className: "frames" }, view.play, view.frame, view.frameName);
  frames.hidden = data.frames.length < 2;
  view.detail = make("section", { className: "detail", "aria-label": "The selected clip" });
  view.detail.append(view.facts, view.sound, view.spectrogram, view.soundNote, view.neighbours);
  const left = make("div", { className: "left" }, make("div", { className: "tools" }, ...tools), view.map, frames);
  left.append(view.status, view.chosen);
  view.parts = [make("div", { className: "columns" }, left, make("div", { className: "right" }, view.legend, view.detail))];
  return view;
}
