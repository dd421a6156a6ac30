// Charts, and images that open. Without this script the tables below them remain.
const specs = JSON.parse(document.getElementById("specs").textContent);
const charts = [...document.querySelectorAll(".chart")].map(async (place) => {
  const spec = specs[place.dataset.figure];
  const text = document.getElementById(`${place.dataset.figure}-text`).textContent;
  const options = { renderer: "svg", actions: false, tooltip: { theme: "custom" } };
  await window.vegaEmbed(place, { ...spec, description: text }, options);
});
Promise.all(charts).then(() => { document.body.dataset.drawn = charts.length; });

const dialog = document.getElementById("enlarged");
function enlarge(button) {
  const small = button.querySelector("img");
  const large = dialog.querySelector("img");
  large.src = small.src;
  large.alt = small.alt;
  dialog.querySelector("p").textContent = small.alt;
  dialog.showModal();
}
// One image of a table is reached by Tab, the others from it by the arrow keys.
for (const table of document.querySelectorAll(".images")) {
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1));
  const buttonAt = (row, column) => rows[row]?.[column]?.querySelector("button");
  table.querySelector("button").tabIndex = 0;
  table.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) enlarge(button);
  });
  table.addEventListener("keydown", (event) => {
    const steps = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    };
    const step = steps[event.key];
    const cell = event.target.closest("td");
    if (!step || !cell) return;
    const row = rows.findIndex((cells) => cells.includes(cell));
    const column = rows[row].indexOf(cell);
    const next = buttonAt(row + step[0], column + step[1]);
    event.preventDefault();
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}
