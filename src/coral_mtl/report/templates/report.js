(() => {
  "use strict";
  const { charts, last: LAST } = JSON.parse(document.getElementById("data").textContent);
  const DASHES = [[], [], [], [], [8, 4], [8, 4], [2, 3], [2, 3]];
  const HEIGHT = () => (innerWidth <= 640 ? 210 : 230);
  const plots = [];

  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (chart, line) => style(`--${chart.family === "task" ? "t" : "s"}${line.colour % 8}`);
  const dash = (line) => (line.colour < 8 ? DASHES[line.colour] : [8, 3, 2, 3]);
  const pale = (hex, lines) => hex + (lines > 4 ? "16" : "2a");

  function figure(value) {
    if (value === null || value === undefined) return "-";
    const size = Math.abs(value);
    if (value !== 0 && (size < 1e-3 || size >= 1e6)) return Number(value.toPrecision(3)).toExponential().replace("e+", "e");
    if (Number.isInteger(value)) return value.toLocaleString("en");
    return size >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
  }

  /* The last figure of a row at or before a place: lines that are not recorded at every step have gaps. */
  function placeIn(row, at) {
    while (at > 0 && row[at] === null) at -= 1;
    return at;
  }

  function where(chart, at) {
    const first = chart.steps[at], last = Math.min(first + chart.length - 1, Math.max(LAST, first));
    return last > first ? `steps ${first.toLocaleString("en")} to ${last.toLocaleString("en")}` : `step ${first.toLocaleString("en")}`;
  }

  function series(chart) {
    const rows = [chart.steps.map((step) => step + (chart.length - 1) / 2)];
    const found = [{}], bands = [], places = [];
    for (const line of chart.lines) {
      const own = rows.length;
      const lonely = line.m.filter((value) => value !== null).length === 1;
      rows.push(line.m);
      found.push({
        label: line.name, width: 1.75, dash: dash(line), spanGaps: true, stroke: () => colour(chart, line),
        points: { show: lonely || chart.steps.length <= 30, size: 5, fill: () => colour(chart, line), width: 0 },
      });
      places.push([own]);
      if (line.h) {
        rows.push(line.h, line.l);
        const edge = { label: "", width: 0, spanGaps: true, stroke: "transparent", points: { show: false } };
        found.push({ ...edge }, { ...edge });
        bands.push({ series: [own + 1, own + 2], fill: () => pale(colour(chart, line), chart.lines.length) });
        places[places.length - 1].push(own + 1, own + 2);
      }
    }
    return { rows, found, bands, places };
  }

  function legend(element, chart, plot, places) {
    const list = element.querySelector(".legend"), place = element.querySelector(".where");
    const outputs = chart.lines.map((line, number) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const stroke = document.createElementNS("http://www.w3.org/2000/svg", "line");
      const name = document.createElement("span"), output = document.createElement("output");
      swatch.setAttribute("class", "swatch");
      swatch.setAttribute("aria-hidden", "true");
      for (const [key, value] of Object.entries({ x1: 0, x2: 22, y1: 5, y2: 5, "stroke-width": 3, "stroke-dasharray": dash(line).join(" ") || "none" })) stroke.setAttribute(key, value);
      stroke.setAttribute("stroke", `var(--${chart.family === "task" ? "t" : "s"}${line.colour % 8})`);
      swatch.append(stroke);
      name.className = "name";
      name.textContent = line.name;
      button.type = "button";
      button.title = "Show or hide this line";
      button.setAttribute("aria-pressed", "true");
      button.append(swatch, name, output);
      button.addEventListener("click", () => {
        const show = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", String(show));
        plot.batch(() => places[number].forEach((at) => plot.setSeries(at, { show })));
      });
      item.append(button);
      list.append(item);
      return output;
    });
    return (at) => {
      const last = chart.steps.length - 1;
      place.textContent = at === null ? "" : where(chart, at);
      chart.lines.forEach((line, number) => {
        const own = placeIn(line.m, at ?? last), output = outputs[number];
        output.textContent = figure(line.m[own]);
        if (at !== null && line.h && line.h[own] !== null) {
          const range = document.createElement("small");
          range.textContent = ` ${figure(line.l[own])} to ${figure(line.h[own])}`;
          output.append(range);
        }
      });
    };
  }

  function marks(chart) {
    return (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.strokeStyle = style("--mark");
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      for (const step of chart.marks) {
        const x = plot.valToPos(step, "x", true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      }
      ctx.restore();
    };
  }

  function make(element) {
    const chart = charts[element.dataset.chart], box = element.querySelector(".plot");
    const { rows, found, bands, places } = series(chart);
    const axis = {
      stroke: () => style("--muted"), font: "12px system-ui, sans-serif",
      grid: { stroke: () => style("--grid"), width: 1 }, ticks: { show: false },
    };
    const y = chart.log ? { distr: 3 } : chart.limits ? { range: chart.limits } : {};
    let show = () => {};
    const plot = new uPlot({
      width: Math.max(box.clientWidth, 200), height: HEIGHT(), legend: { show: false }, series: found, bands,
      scales: { x: { time: false }, y },
      axes: [
        { ...axis, size: 30, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick.toLocaleString("en") : "")) },
        { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : figure(tick))) },
      ],
      cursor: {
        sync: { key: "steps", scales: ["x", null] }, y: false, points: { size: 7 },
        drag: { x: true, y: false },
      },
      hooks: { draw: [marks(chart)], setCursor: [(self) => show(self.cursor.idx ?? null)] },
    }, rows, box);
    show = legend(element, chart, plot, places);
    show(null);
    keyboard(element, box, chart, plot);
    plots.push({ plot, box });
  }

  function keyboard(element, box, chart, plot) {
    const spoken = element.querySelector(".spoken");
    let at = chart.steps.length - 1;
    box.addEventListener("keydown", (event) => {
      const last = chart.steps.length - 1;
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, PageDown: at - 20, PageUp: at + 20, Home: 0, End: last }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      at = Math.min(Math.max(to, 0), last);
      plot.setCursor({ left: plot.valToPos(plot.data[0][at], "x"), top: 1 }, true, true);
      spoken.textContent = `${where(chart, at)}: ${chart.lines.map((line) => `${line.name} ${figure(line.m[placeIn(line.m, at)])}`).join(", ")}`;
    });
  }

  document.querySelectorAll("[data-chart]").forEach(make);
  new ResizeObserver(() => {
    for (const { plot, box } of plots) {
      const size = { width: Math.max(box.clientWidth, 200), height: HEIGHT() };
      if (size.width !== plot.width || size.height !== plot.height) plot.setSize(size);
    }
  }).observe(document.querySelector("main"));
  addEventListener("theme", () => plots.forEach(({ plot }) => plot.redraw(false, true)));
})();
