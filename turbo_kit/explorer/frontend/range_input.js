// A slider of the browser's own: its name and its value in words are what a screen reader hears.

function render({ model, el }) {
  const make = (tag, className) => Object.assign(document.createElement(tag), { className });
  const [label, name, range, output] = [make("label", ""), make("span", "name"), make("input", ""), make("output", "")];
  Object.assign(range, { type: "range", min: 0, step: 1 });
  el.classList.add("turbo-slider");
  el.dataset.lmSuppressShortcuts = "true"; // the arrow keys are the slider's, and not JupyterLab's
  label.append(name, range);
  el.append(label, output);

  const show = () => {
    const texts = model.get("texts");
    output.style.minWidth = `${Math.max(...texts.map((text) => text.length))}ch`; // the rail keeps its length
    name.textContent = model.get("description");
    range.max = texts.length - 1;
    range.value = model.get("index");
    range.disabled = model.get("disabled");
    output.textContent = texts[model.get("index")];
    range.setAttribute("aria-valuetext", output.textContent);
  };
  range.addEventListener("input", () => {
    model.set("index", Number(range.value));
    model.save_changes();
  });
  range.addEventListener("keydown", (event) => event.stopPropagation()); // a notebook, too, would take them
  const changes = ["texts", "description", "index", "disabled"].map((trait) => `change:${trait}`);
  for (const change of changes) model.on(change, show);
  show();
  return () => changes.forEach((change) => model.off(change, show));
}

export default { render };
