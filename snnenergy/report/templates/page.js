// Follows chart.js in one function: report/sealed.py.
const PREFIX = { "-8": "y", "-7": "z", "-6": "a", "-5": "f", "-4": "p", "-3": "n", "-2": "µ", "-1": "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T" };
const si = (value, unit) => {
  if (!value) return `0 ${unit}`;
  const rounded = Number(value.toPrecision(3));
  const power = Math.min(4, Math.max(-8, Math.floor(Math.log10(Math.abs(rounded)) / 3 + 1e-9)));
  return `${Number((rounded / 10 ** (3 * power)).toPrecision(3))} ${PREFIX[power]}${unit}`;
};
const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

function choice(id, list, show) {
  const select = $(`choose-${id}`);
  if (!select || !list.length) return;
  list.forEach((item, i) => select.add(new Option(item.name, String(i))));
  select.addEventListener("change", () => show(list[Number(select.value)]));
  if (list.length === 1) select.parentElement.hidden = true;
  show(list[0]);
}

function layers(item) {
  $("says-layers").textContent = `${item.name}. ${item.says}`;
  const paths = D.paths[item.model];
  const rows = item.rows.map(([layer, part, joules]) => ({
    who: paths[layer], part: D.parts[part], order: part, joules, says: `${paths[layer]}: ${D.parts[part]} ${si(joules, "J")}`,
  }));
  draw("layers", { rows });
}

function activity(item) {
  $("says-activity").textContent = item.name;
  const paths = D.paths[item.model];
  const rows = item.rows.map(([layer, kind, share]) => ({
    who: paths[layer], kind: D.kinds[kind], share, says: `${paths[layer]}: ${D.kinds[kind]} ${percent(share)}`,
  }));
  draw("activity", { rows });
}

function roof(item) {
  $("says-roof").textContent = item.name;
  draw("roof", { roof: item.roof, rows: item.rows });
}

// Break-even in the browser: E_S(T, r) = c + T (a + b r), and the activity at which it equals the ANN's energy.
const spent = ([, a, b, c], T, r) => c + T * (a + b * r);
const level = ([ann, a, b, c], T) => ((ann - c) / T - a) / b;

const last = (own) => (own > 64 ? 4 * own : Math.min(4 * own, 64));  // time steps worth showing

function published(steps, top) {
  const rows = [];
  for (const [who, , low, high] of D.thresholds) {
    const label = low === high ? `${who}: ${low}` : `${who}: ${low} to ${high}`;
    for (const end of new Set([low, high])) {
      for (const T of steps) if (end / T <= top) rows.push({ who: label, line: `${who} ${end}`, T, nominal: end / T });
    }
  }
  for (const [who, , low, high, first, last] of D.rates) {
    const ends = [...new Set([low, high])];
    const label = `${who}: ${ends.map((end) => Number((100 * end).toPrecision(3))).join(" to ")} %`;
    for (const end of ends) {
      for (const T of [first, last]) if (T <= steps[steps.length - 1] && end <= top) rows.push({ who: label, line: `${who} ${end}`, T, nominal: end });
    }
  }
  return rows;
}

function even(item, corners, T, rate) {
  const end = last(item.T), count = Math.min(end, 64);
  const spread = Array.from({ length: count }, (_, i) => 1 + Math.floor((i * (end - 1)) / Math.max(count - 1, 1)));
  const steps = [...new Set([...spread, item.T])].sort((x, y) => x - y);
  const now = level(corners[1], item.T);
  const top = Math.min(1, Math.max(2.5 * item.rate, 2 * now, 0.02));
  const within = (r) => Math.min(Math.max(r, 0), top);
  const rows = steps.filter((t) => level(corners[1], t) <= top).map((t) => {
    const ends = corners.map((corner) => level(corner, t));
    return {
      T: t, low: within(Math.min(...ends)), nominal: within(ends[1]), high: within(Math.max(...ends)),
      says: `T = ${t}: the SNN wins below ${percent(Math.min(Math.max(ends[1], 0), 1))}`,
    };
  });
  $("chart-even").closest("figure").hidden = !rows.length; // the SNN wins at every activity, or activity costs nothing
  if (!rows.length) return;
  const point = [{ T, nominal: Math.min(rate, top), says: `T = ${T}, ${percent(rate)}` }];
  draw("even", { rows, point, published: published(steps, top) });
}

function answer(corners, T, rate) {
  const joules = corners.map((corner) => spent(corner, T, rate));
  const ratios = corners.map((corner, i) => joules[i] / corner[0]);
  const sorted = [...ratios].sort((x, y) => x - y);
  const short = (x) => String(Number(x.toPrecision(3)));
  const side = sorted[0] > 1 ? "the SNN loses" : sorted[2] < 1 ? "the SNN wins" : "within the range of the constants, either may win";
  return `SNN ${si(joules[1], "J")} [${si(joules[0], "J")}, ${si(joules[2], "J")}], ` +
    `${short(ratios[1])}× [${short(sorted[0])}×, ${short(sorted[2])}×] the ANN: ${side}.`;
}

// A slider over the values that the priced variants offer; it hides where there is nothing to choose.
function scale(name, variants) {
  const values = [...new Set(variants.map((v) => v[name]))].sort((x, y) => x - y);
  const input = $(`slide-${name}`), out = $(`out-${name}`);
  $(`row-${name}`).hidden = values.length < 2;
  input.max = String(Math.max(values.length - 1, 0));
  input.value = "0";
  return () => {
    const value = values[Number(input.value)];
    const says = value === 0 ? "as counted" : String(value);
    out.textContent = says;
    input.setAttribute("aria-valuetext", says);
    return value;
  };
}

function pair(item) {
  $("says-pair").textContent = item.name;
  document.querySelectorAll("[data-pair]").forEach((part) => { part.hidden = part.dataset.pair !== String(D.pairs.indexOf(item)); });
  draw("fall", { rows: item.fall });
  $("chart-swing").closest("figure").hidden = !item.swing.length;
  if (item.swing.length) draw("swing", { rows: item.swing });
  $("says-swing").textContent = item.moved;
  const box = $("even");
  box.hidden = !item.even;
  if (!item.even) return;
  const own = item.even;
  $("says-even").textContent = own.says;
  const steps = $("slide-T"), rates = $("slide-rate");
  const bits = scale("bits", own.variants), batch = scale("batch", own.variants);
  steps.max = String(last(own.T));
  steps.value = String(own.T);
  const most = Math.min(1, Math.max(2.5 * own.rate, 0.02));
  rates.value = String(Math.round((1000 * own.rate) / most));
  let touched = false;
  const move = () => {
    const T = Number(steps.value), rate = touched ? (most * Number(rates.value)) / 1000 : own.rate;
    const chosen = own.variants.find((v) => v.bits === bits() && v.batch === batch());
    const corners = chosen ? chosen.corners : own.corners;
    const curve = corners[1][2] > 0;
    $("out-T").textContent = String(T);
    $("out-rate").textContent = percent(rate);
    rates.setAttribute("aria-valuetext", percent(rate));
    rates.disabled = !curve;
    if (!curve) $("chart-even").closest("figure").hidden = true;
    $("answer").textContent = own.variants.length && !chosen ? "The chip does not price both models so." : answer(corners, T, rate);
    if (curve) even(own, corners, T, rate);
  };
  steps.oninput = move;
  rates.oninput = () => { touched = true; move(); };
  for (const id of ["bits", "batch"]) $(`slide-${id}`).oninput = move;
  move();
}

for (const id of ["energy", "parts", "pareto"]) draw(id);
choice("layers", D.layers, layers);
choice("activity", D.activity, activity);
choice("roof", D.roofs, roof);
choice("pair", D.pairs, pair);
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
