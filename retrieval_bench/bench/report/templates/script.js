// The pages read well without this file: it adds sorting, filters, the choice of a pair, and of the theme.
"use strict";

const THEMES = ["system", "light", "dark"];

function storedTheme() {
  try {
    const theme = localStorage.getItem("retrieval-bench-theme");
    return THEMES.includes(theme) ? theme : "system";
  } catch {
    return "system"; // storage may be forbidden
  }
}

function applyTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

applyTheme(storedTheme()); // before anything is painted

function addTheme() {
  const button = document.getElementById("theme");
  let theme = storedTheme();
  const show = () => {
    button.querySelector(".words").textContent = `Theme: ${theme}`;
    applyTheme(theme);
  };
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem("retrieval-bench-theme", theme);
    } catch {
      // it holds for this page
    }
    show();
  });
}

// What is sorted and filtered together: a row, or, where rows belong together, a body of several.
function groups(table) {
  return [...(table.tBodies.length > 1 ? table.tBodies : table.tBodies[0].rows)];
}

function sortKey(group, column) {
  const cell = (group.rows?.[0] ?? group).cells[column];
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = cell.textContent.trim();
  return cell.classList.contains("number") ? null : text.toLowerCase();
}

function sortTable(table, column, ascending) {
  const found = groups(table);
  const keyed = found.map((group, place) => ({ group, place, key: sortKey(group, column) }));
  keyed.sort((a, b) => {
    // What is missing comes last, whichever way.
    if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
    const order = typeof a.key === "number" ? a.key - b.key : a.key.localeCompare(b.key, undefined, { numeric: true });
    return (ascending ? order : -order) || a.place - b.place;
  });
  found[0].parentElement.append(...keyed.map((entry) => entry.group));
}

function addSorting(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const label = head.querySelector(".head");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.textContent = label.textContent;
    label.replaceWith(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const other = first === "descending" ? "ascending" : "descending";
      const direction = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction);
      sortTable(table, column, direction === "ascending");
    });
  });
}

function addFilters(form) {
  const table = document.querySelector(`table[data-board="${CSS.escape(form.dataset.for)}"]`);
  const notes = [...(table.closest("section").querySelector(".footnotes")?.children ?? [])];
  const noted = (group) =>
    [...group.querySelectorAll("sup a")].map((mark) => notes[Number(mark.textContent) - 1]?.textContent ?? "").join(" ");
  const all = groups(table);
  const texts = new Map(all.map((group) => [group, `${group.textContent} ${noted(group)}`.toLowerCase()]));
  const update = () => {
    const wanted = new FormData(form);
    const words = (wanted.get("text") ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const group of all) {
      const fits =
        (!wanted.get("method") || group.dataset.method === wanted.get("method")) &&
        (!wanted.get("suite") || group.dataset.suite === wanted.get("suite")) &&
        words.every((word) => texts.get(group).includes(word));
      group.hidden = !fits;
      shown += fits;
    }
    form.querySelector("output").textContent = `${shown} of ${all.length} rows`;
  };
  form.hidden = false;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}

function addChooser(form) {
  const table = document.querySelector(`table[data-pairs="${CSS.escape(form.dataset.for)}"]`);
  const links = [...table.querySelectorAll("a[data-a]")];
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const [a, b] = [form.elements.a, form.elements.b].map((select) => select.value);
    const found = links.find(({ dataset }) => [dataset.a, dataset.b].includes(a) && [dataset.a, dataset.b].includes(b) && a !== b);
    if (found) location.href = found.href;
    else form.querySelector("output").textContent = a === b ? "Choose two different settings." : "This pair has no page: a large table compares each setting with the best one. For any two runs: retrieval-bench compare.";
  });
}

document.addEventListener("DOMContentLoaded", () => {
  addTheme();
  document.querySelectorAll("table.board").forEach(addSorting);
  document.querySelectorAll("form.filters").forEach(addFilters);
  document.querySelectorAll("form.chooser").forEach(addChooser);
});
