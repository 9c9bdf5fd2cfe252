// Making elements. Whatever comes from files, texts or the provider becomes a text node: there is no other way in here.

/** An element with properties and children. Strings become text; null and false are left out. */
export function el(name, props = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") made.className = value;
    else if (key === "on") made.addEventListener("click", value);
    else if (key === "vars") for (const [name, v] of Object.entries(value)) made.style.setProperty(`--${name}`, v);
    else made.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    made.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return made;
}

const shown = new WeakMap();

/** Put `make()` into a box, unless it was made from the same `data` before; the focus stays where it was. */
export function fill(box, data, make) {
  const key = JSON.stringify(data);
  if (shown.get(box) === key) return;
  shown.set(box, key);
  const active = document.activeElement;
  const held = box.contains(active) ? active.dataset.key : undefined;
  const open = [...box.querySelectorAll("details[open]")].map((each) => each.dataset.key);
  box.replaceChildren(...[make()].flat());
  for (const each of box.querySelectorAll("details")) if (open.includes(each.dataset.key)) each.open = true;
  if (held !== undefined) {
    for (const each of box.querySelectorAll("[data-key]")) {
      if (each.dataset.key === held) each.focus({ preventScroll: true });
    }
  }
}

/** Set a text only where it differs, so that nothing is announced twice. */
export function say(box, text, kind) {
  if (box.textContent !== text) box.textContent = text;
  if (kind !== undefined && box.className !== kind) box.className = kind;
}

/** A table with a heading for each column: [title, class]. Rows are lists of cells. The first cell heads its row. */
export function table(caption, heads, rows, name = "") {
  return el(
    "table",
    { class: name },
    el("caption", { class: "hush" }, caption),
    el("thead", {}, el("tr", {}, heads.map(([title, kind]) => el("th", { scope: "col", class: kind }, title)))),
    el(
      "tbody",
      {},
      rows.map((cells) =>
        el(
          "tr",
          {},
          cells.map((cell, at) =>
            at === 0 ? el("th", { scope: "row", class: heads[at][1] }, cell) : el("td", { class: heads[at][1] }, cell),
          ),
        ),
      ),
    ),
  );
}
