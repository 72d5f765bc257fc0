// Follows chart.js in one function: report/sealed.py.
const SHOWN = 200; // rows of the table
if (!D.chips.length) return;

const QUIET = { logLevel: 1 }; // errors are logged, warnings not: a filter may leave no row, or none of the front

function cloud(goal, rows) {
  for (const id of Object.keys(D.specs)) $(`chart-${id}`).hidden = id !== goal;
  const front = rows.filter((row) => row.on);
  draw(goal, { rows: [...rows.filter((row) => !row.on), ...front], front }, QUIET); // the front is drawn last, over the others
}

const AXES = D.head.length - 4; // what varies stands before energy, accuracy, latency and cores
for (const chip of D.chips) {
  for (const row of chip.rows) {
    const own = row.cells.slice(0, AXES);
    row.words = own.map((text, i) => (D.head[i] === "model" ? text : `${D.head[i]}=${text}`)).filter((_, i) => own[i]);
  }
}

// `snn steps=4`: a word with a sign is a whole value, another one any part of one.
const fits = (row, wanted) => wanted.every((word) => row.words.some((own) => (word.includes("=") ? own === word : own.includes(word))));

function cells(kind, texts, first) {
  return texts.map((text, i) => {
    const made = document.createElement(kind);
    made.textContent = text;
    if (i < first) made.className = "left";
    if (kind === "th") made.scope = "col";
    return made;
  });
}

function show() {
  const chip = D.chips[Number($("choose-chip").value)], goal = $("choose-goal").value;
  const wanted = $("filter").value.trim().split(/\s+/).filter(Boolean);
  const rows = chip.rows.filter((row) => fits(row, wanted) && (!$("only").checked || row.fronts.includes(goal)));
  rows.sort((a, b) => b.fronts.includes(goal) - a.fronts.includes(goal)); // stable: each part by energy
  const priced = rows.filter((row) => row.joules !== null && row[goal] !== undefined);
  const points = priced.map((row) => ({
    joules: row.joules, value: row[goal], on: row.fronts.includes(goal),
    says: `${row.words.join(" ")}: ${row.cells.slice(-4).join(", ")}`,
  }));
  $("sweep-figure").hidden = !points.length;
  if (points.length) cloud(goal, points);
  const front = points.filter((point) => point.on).length;
  $("says").textContent = goal
    ? `${rows.length} of ${chip.rows.length} rows, ${front} of them on the front of the whole sweep: ${D.legend[goal]}.`
    : `${rows.length} rows; nothing is known here to set against the energy.`;
  $("rows").replaceChildren(...rows.slice(0, SHOWN).map((row) => {
    const line = document.createElement("tr");
    line.append(...cells("td", [row.fronts.includes(goal) ? "*" : "", ...row.cells], AXES + 1));
    if (!row.whole) line.className = "none";
    return line;
  }));
  const more = Math.max(rows.length - SHOWN, 0);
  $("left").textContent = [more ? `${more} more rows match; filter further.` : "", chip.left ? `${chip.left} rows of this chip are in the CSV and JSON only.` : ""].join(" ");
}

function goals() {
  const chip = D.chips[Number($("choose-chip").value)], before = $("choose-goal").value;
  $("choose-goal").replaceChildren(...chip.goals.map((goal) => new Option(D.goals[goal], goal)));
  if (chip.goals.includes(before)) $("choose-goal").value = before;
  show();
}

$("head").append(...cells("th", ["front", ...D.head], AXES + 1));
D.chips.forEach((chip, i) => $("choose-chip").add(new Option(chip.name, String(i))));
$("choose-chip").addEventListener("change", goals);
for (const id of ["choose-goal", "only"]) $(id).addEventListener("change", show);
$("filter").addEventListener("input", show);
goals();
