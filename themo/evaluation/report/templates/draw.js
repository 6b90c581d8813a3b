"use strict";
// Draws the figures of the page in its own colours, again when the reader turns to dark or light.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = {responsive: true, displayModeBar: false};

  function template() {
    const page = getComputedStyle(document.documentElement);
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

  function draw() {
    const chosen = template();
    for (const [name, figure] of Object.entries(figures)) {
      const place = document.getElementById("figure-" + name);
      if (place) Plotly.react(place, figure.data, {...figure.layout, template: chosen}, config);
    }
    document.documentElement.dataset.drawn = "yes";
  }

  draw();
  dark.addEventListener("change", draw);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));
})();
