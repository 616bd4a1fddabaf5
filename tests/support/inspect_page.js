// What is wrong with how a page looks: a list of sentences, empty if nothing is.
//
// Evaluated in the page by tests, with the width in CSS pixels for which it is shown.
(width) => {
  const found = new Set();
  const shortened = (text) => text.replace(/\s+/g, " ").trim().slice(0, 60);
  const say = (what, element) => found.add(`${what}: ${where(element)}`);

  // An element's name for people: its id or class, and its text.
  function where(element) {
    const figure = element.closest?.(".plot, figure, table, section");
    const place = figure && figure !== element ? `${named(figure)} > ` : "";
    return `${place}${named(element)} "${shortened(element.textContent ?? "")}"`;
  }
  function named(element) {
    const kind = element.getAttribute("class")?.split(" ")[0];
    return element.localName + (element.id ? `#${element.id}` : kind ? `.${kind}` : "");
  }
  function isShown(element) {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    const { width, height } = element.getBoundingClientRect();
    return width > 0 && height > 0;
  }
  // What scrolls sideways by itself may be wider than the page.
  const scroller = (element) => {
    for (let one = element.parentElement; one; one = one.parentElement)
      if (["auto", "scroll"].includes(getComputedStyle(one).overflowX)) return one;
    return null;
  };

  // 1. Nothing overflows the page.
  if (document.documentElement.scrollWidth > width + 1) {
    found.add(`the page is ${document.documentElement.scrollWidth} pixels wide, not ${width}`);
    for (const element of document.body.querySelectorAll("*"))
      if (isShown(element) && !scroller(element) && !element.closest("svg svg")
          && element.getBoundingClientRect().right > width + 1
          && ![...element.children].some((c) => c.getBoundingClientRect().right > width + 1))
        say("sticks out", element);
  }

  // 2. Tables that are wider than their place scroll in it.
  for (const table of document.querySelectorAll("table")) {
    if (!isShown(table)) continue;
    const frame = scroller(table);
    const wide = table.getBoundingClientRect().width > table.parentElement.clientWidth + 1;
    if (!frame && wide) say("a table that cannot scroll", table);
    if (frame && frame.getBoundingClientRect().right > width + 1) say("a frame sticks out", frame);
  }

  // 3. No text of HTML is cut off by its own box.
  for (const element of document.body.querySelectorAll("*")) {
    const style = getComputedStyle(element);
    if (!["hidden", "clip"].includes(style.overflowX) || element.closest("svg")) continue;
    const text = element.textContent.trim();
    const hidden = element.clientWidth <= 1 || element.clientHeight <= 1; // for screen readers
    if (text && !hidden && isShown(element) && element.scrollWidth > element.clientWidth + 1)
      say("text is cut", element);
  }

  // 4. Every figure is drawn; its labels lie in it, off each other; its legend is off the data.
  const apart = (a, b, by = 1) =>
    a.right <= b.left + by || b.right <= a.left + by || a.bottom <= b.top + by || b.bottom <= a.top + by;
  for (const plot of document.querySelectorAll(".plot, [id^=figure-]")) {
    if (!isShown(plot)) continue;
    const marks = plot.querySelectorAll(".main-svg :is(path, rect, image, circle)[d], .main-svg image");
    if (!marks.length) { say("a figure is not drawn", plot); continue; }
    const frame = plot.getBoundingClientRect();
    const texts = [...plot.querySelectorAll(".main-svg text")].filter(
      (t) => t.textContent.trim() && isShown(t) && !t.closest(".hoverlayer, .notext, .modebar"));
    for (const text of texts) {
      const box = text.getBoundingClientRect();
      if (box.left < frame.left - 2 || box.right > frame.right + 2
          || box.top < frame.top - 2 || box.bottom > frame.bottom + 2) say("a label is cut", text);
    }
    const boxes = texts.filter((t) => !t.closest(".trace, .points, .textpoint"))
      .map((t) => [t, t.getBoundingClientRect()]);
    for (const [i, [text, box]] of boxes.entries())
      for (const [other, its] of boxes.slice(i + 1))
        if (!apart(box, its, 2)) say(`labels overlap, with "${shortened(other.textContent)}"`, text);
    const areas = [...plot.querySelectorAll(".nsewdrag")].map((a) => a.getBoundingClientRect());
    for (const legend of plot.querySelectorAll("g.legend")) {
      const box = legend.getBoundingClientRect();
      if (isShown(legend) && areas.some((area) => !apart(box, area, 3))) say("a legend is on the data", legend);
    }
  }
  // Drawings of our own.
  for (const svg of document.querySelectorAll("svg:not(.main-svg):not(svg svg)")) {
    if (!isShown(svg) || svg.closest(".plot, .modebar")) continue;
    const frame = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      if (isShown(text) && (box.left < frame.left - 2 || box.right > frame.right + 2
          || box.top < frame.top - 2 || box.bottom > frame.bottom + 2)) say("a label is cut", text);
    }
  }

  // 5. Text stands out from what is behind it, by WCAG 2's contrast.
  const parsed = (text) => {
    const numbers = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    return text.startsWith("rgb") ? [...numbers.slice(0, 3), numbers[3] ?? 1] : null;
  };
  const over = (top, below) => {
    const alpha = top[3] + below[3] * (1 - top[3]);
    const mixed = [0, 1, 2].map((i) =>
      alpha ? (top[i] * top[3] + below[i] * below[3] * (1 - top[3])) / alpha : 0);
    return [...mixed, alpha];
  };
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  function behind(element) {
    let colour = [0, 0, 0, 0];
    for (let one = element; one; one = one.parentElement) {
      const its = parsed(getComputedStyle(one).backgroundColor);
      if (its) colour = over(colour, its);
      if (colour[3] > 0.999) return colour;
    }
    return over(colour, dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  }
  function luminance(colour) {
    const [r, g, b] = colour.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
  function contrast(a, b) {
    const [light, less] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (less + 0.05);
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(element) || !element.checkVisibility()) continue;
    seen.add(element);
    const style = getComputedStyle(element), inside = element.closest("svg");
    // Text on marks of a figure is on whatever colour the mark has, which nothing here knows.
    if (["SCRIPT", "STYLE", "TEMPLATE", "NOSCRIPT", "OPTION"].includes(element.tagName)) continue;
    if (inside && element.closest(".trace, .points, .textpoint, .hoverlayer, .annotation, .cbaxis, .modebar")) continue;
    let ink = parsed(inside ? style.fill : style.color);
    if (!ink) continue;
    let opacity = 1;
    for (let one = element; one; one = one.parentElement) opacity *= Number(getComputedStyle(one).opacity);
    ink = [...ink.slice(0, 3), ink[3] * opacity * (inside ? Number(style.fillOpacity) : 1)];
    if (ink[3] < 0.02) continue; // not to be seen at all
    const ground = behind(inside ? inside.parentElement : element);
    const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 700;
    const enough = size >= 24 || (bold && size >= 18.66) ? 3 : 4.5;
    const ratio = contrast(over(ink, ground), ground);
    if (ratio < enough - 0.01) say(`contrast ${ratio.toFixed(1)}`, element);
  }
  return [...found].slice(0, 40);
}
