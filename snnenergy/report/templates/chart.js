// Before the script of a page, in one function: its data, its elements by name, and the charts drawn into them.
const D = JSON.parse(document.getElementById("drawings").textContent);
const $ = (id) => document.getElementById(id);
const views = {};

// What a mark says, beside the pointer; readers without one find it as the mark's label and in the tables.
const shown = document.createElement("div");
shown.id = "tip";
shown.hidden = true;
shown.setAttribute("aria-hidden", "true");
$("main").append(shown);
function tip(handler, event, item, value) {
  shown.hidden = value === undefined || value === null || value === "";
  if (shown.hidden) return;
  shown.textContent = String(value);
  const edge = document.documentElement.clientWidth - shown.offsetWidth - 8;
  shown.style.left = `${Math.max(8, Math.min(event.pageX + 12, edge))}px`;
  shown.style.top = `${event.pageY + 16}px`;
}

// The compiler warns that a chart as wide as its column is as high as its rows need: that is what is asked of it.
const EXPECTED = 'Dropping "fit-y" because spec has discrete height.';
const { warn } = console;
console.warn = (...words) => { if (!words.includes(EXPECTED)) warn(...words); };

async function draw(id, rows = {}, own = {}) {
  const place = $(`chart-${id}`);
  if (!place || !D.specs[id]) return;
  if (!views[id]) {
    Object.assign(D.specs[id].datasets, rows);
    const options = { mode: "vega-lite", renderer: "svg", ast: true, actions: false, tooltip: tip, defaultStyle: false, ...own };
    views[id] = vegaEmbed(place, D.specs[id], options).then((made) => made.view);
  }
  const view = await views[id];
  for (const [name, values] of Object.entries(rows)) view.data(name, values);
  await view.resize().runAsync();
}
