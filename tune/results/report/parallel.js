"use strict";
// Parallel coordinates: a line a trial across the axes of all settings and of the objective. A drag along an
// axis brushes it: lines and rows of the table outside the brushes are dimmed or hidden.
(() => {
  const HEIGHT = 330, TOP = 52, BOTTOM = 16, LEAST_PITCH = 66, GRIP = 16, NEAR = 9, JITTER = 0.05;
  const PAPER_WIDTH = 980;  // pixels between the margins of a page in landscape
  const SVG = "http://www.w3.org/2000/svg";
  const brushes = new Map();  // name of an axis -> [low, high], heights from 0 to 1
  let data, scale, place, svg, tip, xs, axes, lines;

  function make(kind, attributes, parent, text) {
    const node = document.createElementNS(SVG, kind);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  }

  const y = height => TOP + (1 - height) * HEIGHT;

  // --- values and heights ---

  function position(value) {
    if (scale.name === "even") return value;
    return scale.name === "log" ? Math.log10(Math.max(value, scale.least)) : -Math.log10(Math.max(1 - value, scale.least));
  }

  const ofObjective = value => (position(value) - scale.low) / (scale.high - scale.low);

  function valueAt(axis, height) {
    const at = axis.low + height * (axis.high - axis.low);
    if (axis.of === "objective") return scale.name === "even" ? at : scale.name === "log" ? 10 ** at : 1 - 10 ** -at;
    return axis.is_log ? Math.exp(at) : at;
  }

  function objectiveAxis() {
    const ticks = scale.name === "even" ? evenTicks(scale.low, scale.high) : scale.ticks;
    return {
      ...data.objective, of: "objective", low: scale.low, high: scale.high,
      ticks: ticks.map(tick => ({height: (tick.position - scale.low) / (scale.high - scale.low), text: tick.text})),
    };
  }

  function evenTicks(low, high) {
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(times => times * power).find(one => one >= rough);
    const ticks = [];
    for (let i = Math.ceil(low / step); i * step <= high; i++) ticks.push({position: i * step, text: String(+(i * step).toPrecision(6))});
    return ticks;
  }

  // --- drawing ---

  function draw() {
    axes = [...data.axes, objectiveAxis()];
    const isPrinting = document.documentElement.classList.contains("printing");
    const width = isPrinting ? PAPER_WIDTH : Math.max(place.clientWidth, axes.length * LEAST_PITCH + 30);
    const left = 54, right = 50, pitch = axes.length > 1 ? (width - left - right) / (axes.length - 1) : 0;
    xs = axes.map((_, i) => left + i * pitch);
    svg.setAttribute("width", width);
    svg.setAttribute("height", TOP + HEIGHT + BOTTOM);
    const focused = svg.contains(document.activeElement) ? document.activeElement.dataset.axis : null;
    svg.replaceChildren();
    lines = drawLines();
    axes.forEach((axis, i) => drawAxis(axis, i, isPrinting ? pitch : Math.max(pitch, LEAST_PITCH)));
    if (focused) svg.querySelector(`[data-axis="${CSS.escape(focused)}"]`)?.focus({preventScroll: true});
    show();
  }

  function heightsOf(trial) { return [...trial.heights, ofObjective(trial.best)]; }

  function drawLines() {
    const layer = make("g", {class: "lines"}, svg);
    const rank = {worst: 0, middle: 1, best: 2, winner: 3};
    const n = Math.max(1, data.trials.length - 1);
    const sorted = [...data.trials].sort((a, b) => rank[a.group] - rank[b.group]);
    return sorted.map(trial => {
      const heights = heightsOf(trial);
      const spread = JITTER * (data.trials.indexOf(trial) / n - 0.5);  // equal choices side by side
      const points = heights.map((height, i) => height === null ? null : [xs[i], y(height + (axes[i].is_choice ? spread : 0))]);
      let path = "", isDown = false;
      for (const point of points) {
        if (point) path += `${isDown ? "L" : "M"}${point[0].toFixed(1)} ${point[1].toFixed(1)}`;
        isDown = point !== null;
      }
      const node = make("path", {d: path, class: `trial ${trial.group}`, "data-trial": trial.number}, layer);
      return {trial, heights, points, node};
    });
  }

  function drawAxis(axis, i, pitch) {
    const group = make("g", {
      class: "axis", tabindex: 0, role: "group", "data-axis": axis.name,
      "aria-label": `${axis.name}: arrow keys set the range, Escape clears it`,
    }, svg);
    make("line", {x1: xs[i], x2: xs[i], y1: y(1.03), y2: y(-0.03)}, group);
    const name = make("text", {class: "name", "text-anchor": "middle"}, group);
    axis.labels.forEach((label, j) => fit(make("tspan", {x: xs[i], y: 14 + 13 * (j + 2 - axis.labels.length)}, name, label), pitch - 6));
    make("title", {}, name, axis.name);
    const isLast = i === axes.length - 1;
    for (const tick of spaced(axis.ticks)) {
      const text = make("text", {class: "tick", "text-anchor": isLast ? "start" : "end"}, group);
      const labels = tick.labels || [tick.text];
      labels.forEach((label, j) => fit(make("tspan", {
        x: xs[i] + (isLast ? 5 : -5), y: y(tick.height) + 12 * (j - (labels.length - 1) / 2), "dominant-baseline": "central",
      }, text, label), isLast ? 46 : i ? pitch - 8 : 48));
      if (axis.is_choice) text.addEventListener("click", () => pick(axis, tick.height));
    }
    const grip = make("rect", {class: "grip", x: xs[i] - GRIP, width: 2 * GRIP, y: y(1.04), height: 1.08 * HEIGHT}, group);
    make("rect", {class: "brush", x: xs[i] - 6, width: 12, rx: 3}, group);
    grip.addEventListener("pointerdown", event => drag(event, axis, grip));
    group.addEventListener("keydown", event => press(event, axis));
  }

  // Shortens a label that is wider than its room; its whole text stays as its title.
  function fit(node, room) {
    const whole = node.textContent;
    let length = whole.length;
    while (length > 3 && node.getComputedTextLength() > room) node.textContent = whole.slice(0, --length) + "…";
    if (length < whole.length) make("title", {}, node, whole);
  }

  function spaced(ticks) {
    const kept = [];
    for (const tick of [...ticks].sort((a, b) => b.height - a.height)) {
      if (!kept.length || (kept[kept.length - 1].height - tick.height) * HEIGHT >= 13) kept.push(tick);
    }
    return kept;
  }

  // --- brushes ---

  function drag(event, axis, grip) {
    const start = heightAt(event);
    let isMoved = false;
    grip.setPointerCapture(event.pointerId);
    const move = now => {
      const end = heightAt(now);
      isMoved = isMoved || Math.abs(end - start) * HEIGHT > 3;
      if (isMoved) set(axis.name, [Math.min(start, end), Math.max(start, end)]);
    };
    const stop = () => {
      grip.removeEventListener("pointermove", move);
      if (!isMoved) set(axis.name, null);  // a click clears
    };
    grip.addEventListener("pointermove", move);
    grip.addEventListener("pointerup", stop, {once: true});
    grip.addEventListener("pointercancel", stop, {once: true});
    event.preventDefault();
  }

  function heightAt(event) {
    const at = event.clientY - svg.getBoundingClientRect().top;
    return Math.min(1.03, Math.max(-0.03, 1 - (at - TOP) / HEIGHT));
  }

  function press(event, axis) {
    const [low, high] = brushes.get(axis.name) || [-0.03, 1.03];
    const step = 0.05, up = event.key === "ArrowUp", down = event.key === "ArrowDown";
    if (event.key === "Escape") set(axis.name, null);
    else if (!up && !down) return;
    else if (event.shiftKey) set(axis.name, up ? [low, Math.min(1.03, high + step)] : [Math.max(-0.03, low - step), high]);
    else set(axis.name, up ? [Math.min(high, low + step), high] : [low, Math.max(low, high - step)]);
    event.preventDefault();
  }

  function pick(axis, height) { set(axis.name, [height - 0.04, height + 0.04]); }

  function set(name, range) {
    if (range) brushes.set(name, range); else brushes.delete(name);
    show();
  }

  function isKept(line) {
    return axes.every((axis, i) => {
      const brush = brushes.get(axis.name);
      return !brush || (line.heights[i] !== null && brush[0] <= line.heights[i] && line.heights[i] <= brush[1]);
    });
  }

  function show() {
    const kept = new Set();
    for (const line of lines) {
      line.isKept = isKept(line);
      line.node.classList.toggle("out", !line.isKept);
      if (line.isKept) kept.add(line.trial.number);
    }
    for (const axis of svg.querySelectorAll("g.axis")) {
      const brush = brushes.get(axis.dataset.axis), box = axis.querySelector(".brush");
      box.setAttribute("y", brush ? y(brush[1]) : 0);
      box.setAttribute("height", brush ? Math.max(2, (brush[1] - brush[0]) * HEIGHT) : 0);
    }
    document.getElementById("brushed").textContent = axes.filter(axis => brushes.has(axis.name)).map(inWords).join("; ");
    document.getElementById("clear").hidden = !brushes.size;
    document.dispatchEvent(new CustomEvent("brush", {detail: brushes.size ? kept : null}));
  }

  function inWords(axis) {
    const [low, high] = brushes.get(axis.name);
    if (axis.is_choice) {
      return `${axis.name} ${axis.ticks.filter(tick => low <= tick.height && tick.height <= high).map(tick => tick.text).join(" or ") || "none"}`;
    }
    const ends = [Math.max(0, low), Math.min(1, high)].map(height => String(+valueAt(axis, height).toPrecision(axis.of === "objective" ? 4 : 3)));
    return low <= 0 ? `${axis.name} up to ${ends[1]}` : high >= 1 ? `${axis.name} from ${ends[0]}` : `${axis.name} ${ends[0]} to ${ends[1]}`;
  }

  // --- pointing ---

  function nearest(event) {
    const box = svg.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    let best = null, least = NEAR;
    for (const line of lines) {
      if (!line.isKept) continue;
      for (let i = 0; i + 1 < xs.length; i++) {
        const a = line.points[i], b = line.points[i + 1];
        if (!a || !b || px < a[0] || px > b[0]) continue;
        const away = Math.abs(a[1] + (b[1] - a[1]) * (px - a[0]) / (b[0] - a[0]) - py);
        if (away <= least) { least = away; best = line; }  // of equal lines the one on top
      }
    }
    return best;
  }

  function point(event) {
    const line = nearest(event);
    document.dispatchEvent(new CustomEvent("point", {detail: line ? line.trial.number : null}));
    tip.hidden = !line;
    if (!line) return;
    tip.replaceChildren(...line.trial.about.map((text, i) => {
      const row = document.createElement(i ? "div" : "b");
      row.textContent = text;
      return row;
    }));
    const frame = tip.parentElement.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(event.clientX - frame.left + 14, frame.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${event.clientY - frame.top + 16}px`;
  }

  function emphasize(number) {
    if (!svg) return;
    svg.classList.toggle("pointed", number !== null);
    for (const line of lines) line.node.classList.toggle("marked", line.trial.number === number);
  }

  // --- set-up ---

  function setUp(chosen) {
    place = document.getElementById("figure-parallel");
    if (!place) return;
    data = JSON.parse(document.getElementById("data").textContent).parallel;
    const isNewScale = scale && scale.name !== chosen;
    scale = data.scales.find(one => one.name === chosen) || data.scales[0];
    if (isNewScale) brushes.delete(data.objective.name);  // its heights mean other values
    if (!svg || !place.contains(svg)) {
      svg = make("svg", {class: "parallel", role: "group", "aria-label": place.getAttribute("aria-label")}, place);
      tip = document.getElementById("tip");
      svg.addEventListener("pointermove", point);
      svg.addEventListener("pointerleave", () => { tip.hidden = true; document.dispatchEvent(new CustomEvent("point", {detail: null})); });
      document.getElementById("clear").addEventListener("click", () => { brushes.clear(); show(); });
    }
    draw();
  }

  document.addEventListener("page", event => setUp(event.detail.scale));
  document.addEventListener("point", event => emphasize(event.detail));
})();
