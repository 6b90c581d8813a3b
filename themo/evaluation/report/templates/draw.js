"use strict";
// Draws the figures in the colours, the width and the scale of the moment: dark or light, wide or narrow, on
// screen or on paper. Dispatches "page" once the page is drawn: other scripts set up their parts then.
(() => {
  const PAPER_WIDTH = 684;  // pixels between the margins of a printed page
  const PAPER_SQUEEZE = 0.6;  // heights of panels on paper: a figure is not cut, so it must fit one page
  const NARROW = 560;
  const LEGEND_ROW = 29;
  const root = document.documentElement;
  const config = {responsive: false, displayModeBar: false};
  let scale = null;  // the reader's choice; null: the page's first

  const read = id => JSON.parse(document.getElementById(id).textContent);
  const isPrinting = () => root.classList.contains("printing");

  function template() {
    const page = getComputedStyle(root);
    const colour = name => page.getPropertyValue(name).trim();
    const axis = {
      gridcolor: colour("--grid"), zerolinecolor: colour("--grid"), linecolor: colour("--line"),
      tickcolor: colour("--line"), automargin: true, title: {standoff: 10, font: {size: 13}},
    };
    return {layout: {
      font: {family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("--ink")},
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: axis, yaxis: axis, hovermode: "closest",
      hoverlabel: {bgcolor: colour("--card"), bordercolor: colour("--line"), font: {color: colour("--ink")}, align: "left"},
      margin: {l: 60, r: 16, t: 16, b: 48},
      legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", title: {text: ""}},
    }};
  }

  // Scales: an axis named in the layout's meta as `scaled` takes the position of each value on the scale.
  function position(chosen, value) {
    if (value === null || chosen.name === "even") return value;
    return chosen.name === "log" ? Math.log10(Math.max(value, chosen.least)) : -Math.log10(Math.max(1 - value, chosen.least));
  }

  function current() {
    const scales = read("data").scales || [];
    return scales.find(one => one.name === scale) || scales[0] || null;
  }

  const axisKey = name => name[0] + "axis" + name.slice(1);

  function onScale(figure, chosen, pixels) {
    const scaled = (figure.layout.meta || {}).scaled;
    if (!scaled || !chosen) return figure;
    const data = figure.data.map(trace => scaled.includes(trace.yaxis || "y")
      ? {...trace, y: trace.y.map(value => position(chosen, value))} : trace);
    const layout = {...figure.layout};
    for (const name of scaled) {
      const ticks = spaced(chosen.ticks, tick => (tick.position - chosen.low) / (chosen.high - chosen.low) * pixels, 15);
      const own = chosen.name === "even" ? {} : {tickvals: ticks.map(tick => tick.position), ticktext: ticks.map(tick => tick.text)};
      layout[axisKey(name)] = {...layout[axisKey(name)], range: [chosen.low, chosen.high], ...own};
    }
    return {data, layout};
  }

  // The ticks that keep a distance in pixels from those before; the last one, the best values', always stays.
  function spaced(ticks, place, least) {
    const kept = [];
    for (const tick of [...ticks].reverse()) {
      if (!kept.length || Math.abs(place(kept[0]) - place(tick)) >= least) kept.unshift(tick);
    }
    return kept;
  }

  // Panels: the layout's meta lists them, and the width of the page decides how many lie side by side.
  function inPanels(data, layout, width) {
    const {panels, columns, least, gap, left, between, shared, below} = layout.meta;
    const right = 16, bottom = below ? 48 : 36, inner = width - left - right;
    const top = 27 + LEGEND_ROW * legendRows(data, inner);
    const n = Math.max(1, Math.min(columns, panels.length, Math.floor((inner + gap) / (least + gap))));
    const panelWidth = (inner - gap * (n - 1)) / n;
    const rows = [], squeeze = isPrinting() ? PAPER_SQUEEZE : 1;
    panels.forEach((panel, i) => { const row = Math.floor(i / n); rows[row] = Math.max(rows[row] || 0, squeeze * panel.height); });
    const total = rows.reduce((sum, height) => sum + height, 0) + between * (rows.length - 1);
    const placed = {...layout, width, height: total + top + bottom, margin: {l: left, r: right, t: top, b: bottom, autoexpand: false}, annotations: []};
    panels.forEach((panel, i) => {
      const row = Math.floor(i / n), column = i % n, suffix = i ? i + 1 : "";
      const above = rows.slice(0, row).reduce((sum, height) => sum + height + between, 0);
      const x0 = column * (panelWidth + gap) / inner, x1 = x0 + panelWidth / inner;
      const y1 = 1 - above / total, y0 = y1 - squeeze * panel.height / total;
      const isLast = i + n >= panels.length;
      placed["xaxis" + suffix] = {...layout["xaxis" + suffix], domain: [x0, x1], anchor: "y" + suffix, automargin: false};
      if (!isLast || !below) delete placed["xaxis" + suffix].title;
      placed["yaxis" + suffix] = {
        ...layout["yaxis" + suffix], domain: [y0, y1], anchor: "x" + suffix, automargin: false,
        ...(shared ? {matches: i ? "y" : undefined, showticklabels: column === 0} : {}),
      };
      if (shared && column) delete placed["yaxis" + suffix].title;
      placed.annotations.push({
        text: `<b>${panel.title}</b>`, showarrow: false, font: {size: 12.5}, align: "left",
        xref: "paper", yref: "paper", x: x0, y: y1, xanchor: "left", yanchor: "bottom", yshift: 3,
      });
    });
    return placed;
  }

  // Rows that Plotly gives a legend above a figure: one, or columns as wide as the longest name.
  function legendRows(data, room) {
    const widths = data.filter(trace => trace.showlegend !== false).map(trace => 46 + 6.8 * trace.name.length);
    if (widths.reduce((sum, one) => sum + one, 0) <= room) return 1;
    return Math.ceil(widths.length / Math.max(1, Math.floor(room / Math.max(...widths))));
  }

  function innerHeight(layout) {
    const panels = (layout.meta || {}).panels;
    const squeeze = isPrinting() ? PAPER_SQUEEZE : 1;
    return panels ? squeeze * Math.min(...panels.map(panel => panel.height)) : layout.height - 110;
  }

  function draw() {
    const colours = template(), chosen = current();
    for (const [name, figure] of Object.entries(read("figures"))) {
      const place = document.getElementById("figure-" + name);
      if (!place) continue;
      const width = isPrinting() ? PAPER_WIDTH : place.clientWidth;
      const {data, layout} = onScale(figure, chosen, innerHeight(figure.layout));
      const laid = (layout.meta || {}).panels ? inPanels(data, layout, width) : {...layout, width};
      if (width < NARROW) narrow(laid);
      Plotly.react(place, data, {...laid, template: colours}, config);
    }
    root.dataset.drawn = "yes";
    document.dispatchEvent(new CustomEvent("page", {detail: {scale: chosen && chosen.name, isPrinting: isPrinting()}}));
  }

  // On a telephone the figure needs its width: smaller margins and labels.
  function narrow(layout) {
    layout.font = {size: 11};
    if (!(layout.meta || {}).panels) layout.margin = {...layout.margin, r: 6};
  }

  function setUpSwitch() {
    for (const input of document.querySelectorAll("input[name=scale]")) {
      if (scale) input.checked = input.value === scale;
      input.addEventListener("change", () => { scale = input.value; draw(); });
    }
  }

  function print(isOn) {
    if (isOn === isPrinting()) return;
    root.classList.toggle("printing", isOn);
    if (isOn) document.querySelectorAll("details").forEach(part => { part.open = true; });
    draw();
  }

  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width && !isPrinting()) { width = innerWidth; draw(); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  matchMedia("print").addEventListener("change", event => print(event.matches));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  document.addEventListener("content", () => { setUpSwitch(); draw(); });  // the content of the page is new
  document.addEventListener("DOMContentLoaded", () => document.dispatchEvent(new CustomEvent("content")));
})();
