"use strict";
// The page's script: buttons that copy, tables that are sorted and filtered, figures. Text that comes
// from a study is only ever set as text. Without this script everything but the figures can be read.
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  const unpacked = async (id) => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };

  // Copying. Browsers offer their clipboard to some pages only: a selection does for the others.
  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const box = make("textarea", { value: text, readOnly: true });
      box.style.cssText = "position: fixed; top: 0; opacity: 0";
      document.body.append(box);
      box.select();
      let done = false;
      try {
        done = document.execCommand("copy");
      } catch { /* told below */ }
      box.remove();
      return done;
    }
  };
  for (const button of document.querySelectorAll("button.copy")) {
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const said = (await copy(button.dataset.text)) ? "Copied" : "Please copy by hand";
      button.textContent = said;
      document.querySelector("[role=status]").textContent = said;
      button.focus();
      setTimeout(() => { button.textContent = label; }, 2000);
    });
  }

  // Sorting. A cell counts as the number it begins with; times, which have units, as seconds.
  const UNITS = { s: 1, min: 60, h: 3600 };
  const NUMBER = /^[<±]?\s*([+-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)\s*(s|min|h)?\b/i;
  const valueOf = (text) => {
    if (text === "" || text === "–") return null;
    if (text === "never") return Infinity;
    const found = NUMBER.exec(text);
    return found ? Number(found[1].replaceAll(",", "")) * (UNITS[found[2]] ?? 1) : text;
  };
  const words = new Intl.Collator("en", { numeric: true });
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a < b ? -1 : a > b ? 1 : 0;
    if (typeof a === "number") return -1;
    return typeof b === "number" ? 1 : words.compare(a, b);
  };
  // The order of rows by a column's values; what is empty comes last either way.
  const sorted = (rows, value, down) => {
    const keyed = rows.map((row, i) => [valueOf(value(row)), i, row]);
    keyed.sort(([a, i], [b, j]) => {
      if (a === null || b === null) return a === b ? i - j : a === null ? 1 : -1;
      return (down ? compare(b, a) : compare(a, b)) || i - j;
    });
    return keyed.map(([, , row]) => row);
  };
  const sortable = (heads, sort) => heads.forEach((head, column) => {
    const button = make("button", { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(column, down);
    });
  });
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    if (body.rows.length < 2) continue;
    sortable([...table.tHead.rows[0].cells], (column, down) =>
      body.append(...sorted([...body.rows], (row) => row.cells[column].textContent, down)));
  }

  // Tables of many rows: a hundred at a time, of those that pass the filters.
  const PAGE = 100;
  const browse = (place, { header, rows, text, filters }) => {
    const dots = new Map();
    for (const dot of place.querySelectorAll("td > .dot")) dots.set(dot.parentElement.textContent, dot);
    let shown = rows, ordered = rows, page = 0;
    const kind = (column) => (text.includes(column) ? "text" : "");
    const heads = header.map((name, i) => make("th", { scope: "col", className: kind(i), textContent: name }));
    const body = make("tbody");
    const count = make("p", { className: "soft count" });
    count.setAttribute("role", "status");
    const before = make("button", { type: "button", textContent: "Previous" });
    const after = make("button", { type: "button", textContent: "Next" });
    const search = make("input", { type: "search", placeholder: "any text" });
    const selects = filters.map((column) => {
      const values = [...new Set(rows.map((row) => row[column]))].sort(words.compare);
      const select = make("select", {}, make("option", { value: "", textContent: "all" }),
        ...values.map((value) => make("option", { value: `=${value}`, textContent: value || "–" })));
      return [column, select];
    });
    const show = () => {
      const pages = Math.max(1, Math.ceil(shown.length / PAGE));
      page = Math.min(page, pages - 1);
      const first = page * PAGE;
      body.replaceChildren(...shown.slice(first, first + PAGE).map((row) => {
        const line = make("tr", {}, ...row.map((cell, i) =>
          make("td", { className: kind(i) + (kind(i) && cell.length > 40 ? " long" : ""), textContent: cell })));
        if (dots.has(row[0])) line.cells[0].prepend(dots.get(row[0]).cloneNode());
        return line;
      }));
      const last = Math.min(first + PAGE, shown.length);
      const number = (n) => n.toLocaleString("en");
      count.textContent = shown.length
        ? `Rows ${number(first + 1)} to ${number(last)} of ${number(shown.length)}`
          + (shown.length < rows.length ? ` that match, of ${number(rows.length)}` : "")
        : `No row of ${number(rows.length)} matches`;
      before.disabled = page === 0;
      after.disabled = page === pages - 1;
    };
    let haystack = null;
    const filter = () => {
      const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      haystack ??= new Map(rows.map((row) => [row, row.join("\n").toLowerCase()]));
      shown = ordered.filter((row) =>
        selects.every(([column, select]) => !select.value || select.value === `=${row[column]}`)
        && wanted.every((word) => haystack.get(row).includes(word)));
      page = 0;
      show();
    };
    search.addEventListener("input", filter);
    for (const [, select] of selects) select.addEventListener("change", filter);
    before.addEventListener("click", () => { page -= 1; show(); });
    after.addEventListener("click", () => { page += 1; show(); });
    sortable(heads, (column, down) => {
      ordered = sorted(rows, (row) => row[column], down);
      filter();
    });
    const tools = make("div", { className: "tools" },
      make("label", {}, "Find ", search),
      ...selects.map(([column, select]) => make("label", {}, `${header[column]} `, select)),
      before, after, count);
    const scroll = place.querySelector(".scroll");
    scroll.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body));
    place.querySelector(":scope > p")?.remove();
    place.prepend(tools);
    show();
  };
  const browseAll = async () => {
    if (!document.getElementById("tables")) return;
    for (const [id, table] of Object.entries(JSON.parse(await unpacked("tables"))))
      browse(document.getElementById(id), table);
  };

  // A hint above tables that are wider than their place.
  const measure = (scroll) => {
    const over = scroll.scrollWidth > scroll.clientWidth + 1;
    const hint = scroll.previousElementSibling?.matches(".hint") ? scroll.previousElementSibling : null;
    if (over && !hint)
      scroll.before(make("p", { className: "hint", textContent: "Scroll sideways for more columns →" }));
    if (!over) hint?.remove();
    scroll.tabIndex = over ? 0 : -1;
  };
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) measure(target.matches(".scroll") ? target : target.closest(".scroll"));
  });
  const watchTables = () => {
    for (const scroll of document.querySelectorAll(".scroll")) {
      sizes.observe(scroll);
      sizes.observe(scroll.firstElementChild);
    }
  };

  // Contents: open where there is room beside the page, with a mark at what is being read.
  const contents = document.querySelector("nav details");
  const wide = matchMedia("(min-width: 1240px)");
  const open = () => { contents.open = wide.matches; };
  wide.addEventListener("change", open);
  open();
  const links = new Map([...contents.querySelectorAll("a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.target.dataset.seen = entry.isIntersecting ? "1" : "";
    const current = document.querySelector("main > section[data-seen='1']");
    for (const [id, link] of links)
      if (current?.id === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
  }, { rootMargin: "0px 0px -60% 0px" });
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);

  // Figures
  const drawAll = async () => {
    if (!document.getElementById("plotly")) return;
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly");
    document.head.append(script);
    // Plotly itself follows the window only, not its place in the page.
    const widths = new Map();
    const places = new ResizeObserver((entries) => {
      for (const { target } of entries) {
        const width = target.clientWidth;
        if (!width || widths.get(target) === width) continue;
        widths.set(target, width);
        if (!document.documentElement.classList.contains("printing")) Plotly.Plots.resize(target);
      }
    });
    const options = { displaylogo: false, displayModeBar: false };
    for (const [id, { data, layout }] of Object.entries(JSON.parse(await unpacked("figures")))) {
      const plot = await Plotly.newPlot(id, data, layout, options);
      widths.set(plot, plot.querySelector(".main-svg").clientWidth);
      places.observe(plot);
    }
  };
  drawAll().catch((error) => {
    for (const plot of document.querySelectorAll(".plot:empty"))
      plot.textContent = `This browser cannot draw the figure (${error.message}); a newer one can.`;
  });
  browseAll().catch(() => { /* the first rows stay, and say that there are more */ }).finally(watchTables);

  // On paper all is open, and a figure is as wide as the sheet.
  const opened = new Set();
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      opened.add(details);
      details.open = true;
    }
    for (const plot of document.querySelectorAll(".js-plotly-plot")) {
      const drawn = plot.querySelector(".main-svg");
      const [width, height] = [drawn.clientWidth, drawn.clientHeight];
      plot.style.setProperty("--ratio", `${width} / ${height}`);
      for (const svg of plot.querySelectorAll(".main-svg")) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    }
    document.documentElement.classList.add("printing");
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    for (const svg of document.querySelectorAll(".main-svg")) svg.removeAttribute("viewBox");
    for (const details of opened) details.open = false;
    opened.clear();
  });
})();
