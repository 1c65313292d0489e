/* The report's page: draws what the JSON in #content holds, by plotly and DataTables.

Texts of runs may be anything. They become text nodes (element, DataTables' render, textContent), and are
escaped where plotly would take them for markup (plain). */
"use strict";

(async () => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const { runs, fields, curves } = content;
  const settings = fields.filter((field) => field.kind === "setting");
  const byId = (id) => document.getElementById(id);
  const PALETTES = {
    light: ["#0072b2", "#d55e00", "#008a64", "#b3558c", "#a67300", "#2a8fc7", "#7b52ab", "#8c564b", "#666666", "#7d7e12"],
    dark: ["#56b4e9", "#ff8c42", "#2fc49a", "#e79ac4", "#f0b429", "#8fd0ff", "#b99af0", "#c49a8f", "#b0b0b0", "#d4d65c"],
  };
  const isDark = () => document.documentElement.classList.contains("dark");
  const MOST_LINES = 100;
  const READABLE_LINES = 24;
  const MOST_PLACES = 512; // where a mean is computed, if the runs were not logged at the same
  const MOST_AXES = 9;
  const SHADES = 24;
  const IDLE_MS = 500;
  const PLOT = { responsive: true, displaylogo: false };
  let searched = runs.ids.map((_, run) => run); // what the table's search leaves
  let selected = searched; // and what of it lies within the limits of the axes
  const limits = new Map(); // the least and the greatest value that is shown, by the field

  // Elements.

  function element(tag, text, properties = {}, children = []) {
    const made = Object.assign(document.createElement(tag), properties);
    if (text !== null && text !== undefined) made.textContent = text;
    made.append(...children);
    return made;
  }

  function plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function shown(value) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number" || Number.isInteger(value)) return String(value);
    return String(Number(value.toPrecision(6)));
  }

  function counted(count, noun) {
    return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  }

  function runLink(run) {
    return element("a", `run ${runs.ids[run]}`, { href: runs.links[run] });
  }

  function statusMark(status) {
    const known = /^[A-Z]+$/.test(status) ? ` status-${status.toLowerCase()}` : "";
    return element("span", status, { className: `status${known}` });
  }

  function fill(select, options, chosen) {
    select.replaceChildren(...options.map(([value, text]) => element("option", text, { value })));
    select.value = chosen;
  }

  function style(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // Numbers come first, then texts, then what is missing, whichever way a column is sorted.

  function compare(direction) {
    const rank = (value) => (typeof value === "number" ? 0 : value === "" ? 2 : 1);
    return (a, b) => {
      if (rank(a) !== rank(b)) return rank(a) - rank(b);
      return direction * (a < b ? -1 : a > b ? 1 : 0);
    };
  }

  // The table.

  async function importTable() {
    const program = JSON.parse(byId("table-program").textContent);
    const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
    try {
      return (await import(address)).jQuery;
    } finally {
      URL.revokeObjectURL(address);
    }
  }

  function column(title, values, node, visible = true) {
    // DataTables reads what a search looks through as markup, and a display as a node.
    const render = (data, kind, row) => {
      const value = values[row[0]];
      if (kind === "display") return node(row[0], value);
      if (kind === "filter") return value === null || value === undefined ? "" : plain(value);
      return value ?? "";
    };
    const numeric = values.some((value) => typeof value === "number");
    return { title, visible, definition: { data: 0, render, type: "mixed", visible,
      className: numeric ? "number" : "" } };
  }

  let table = null;

  async function drawTable() {
    const jQuery = await importTable();
    const { order } = jQuery.fn.dataTable.ext.type;
    order["mixed-asc"] = compare(1);
    order["mixed-desc"] = compare(-1);
    const text = (_, value) => element("span", shown(value), { title: shown(value) });
    const columns = [
      column("run", runs.ids, (run) => element("a", String(runs.ids[run]), { href: runs.links[run] })),
      column("status", runs.statuses, (run, status) => statusMark(status)),
      ...fields.map((field) => column(field.name, field.values, text, field.shown)),
    ];
    byId("runs").tHead.rows[0].append(...columns.map(({ title }) => element("th", title, { scope: "col" })));
    table = jQuery("#runs").DataTable({
      data: selected.map((run) => [run]),
      columns: columns.map(({ definition }) => definition),
      order: [],
      autoWidth: false,
      deferRender: true,
      pageLength: 25,
      lengthMenu: [10, 25, 100, 1000],
      language: { search: "Search:", emptyTable: "no runs" },
    });
    byId("columns").append(...columns.map(({ title, visible }, place) => {
      const box = element("input", null, { type: "checkbox", checked: visible });
      box.addEventListener("change", () => table.column(place).visible(box.checked));
      return element("label", null, {}, [box, ` ${title}`]);
    }));
    let waiting = 0;
    let passed = []; // DataTables asks this of what its search leaves
    jQuery.fn.dataTable.ext.search.push((_, __, ___, [run]) => {
      passed.push(run);
      return isWithinLimits(run);
    });
    table.on("search.dt", () => {
      const [before, chosen] = [searched, selected];
      searched = passed.sort((a, b) => a - b);
      selected = searched.filter(isWithinLimits);
      passed = [];
      if (areEqual(before, searched) && areEqual(chosen, selected)) return;
      clearTimeout(waiting);
      waiting = setTimeout(drawPlots, 150);
    });
  }

  function areEqual(some, others) {
    return some.length === others.length && some.every((run, place) => run === others[place]);
  }

  function drawSame() {
    if (!content.same.length) return;
    const place = byId("same");
    place.hidden = false;
    place.querySelector("summary").textContent =
      `${counted(content.same.length, "setting")} ${content.same.length === 1 ? "is" : "are"} the same in all runs`;
    for (const [name, value] of content.same) {
      place.querySelector("dl").append(element("dt", name), element("dd", shown(value)));
    }
  }

  // Curves: what Python has packed, see _curves.py.

  const decoded = new Map();

  function blob(place, type) {
    if (!decoded.has(place)) {
      const text = atob(curves.blobs[place]);
      const bytes = new Uint8Array(text.length);
      for (let index = 0; index < text.length; index += 1) bytes[index] = text.charCodeAt(index);
      decoded.set(place, bytes.buffer);
    }
    return new type(decoded.get(place));
  }

  /* The values of a run that were kept, with their rows; `between` are the least and greatest of each step. */
  function unpacked(packed, withExtremes = false) {
    if (!packed) return null;
    const [count, step, kept, rows, extremes, within, wide] = packed;
    const type = wide ? Float64Array : Float32Array;
    const y = Array.from(blob(kept, type));
    const x = rows < 0 ? y.slice() : Array.from(blob(rows, Int32Array));
    if (rows < 0) {
      for (let place = 0; place < x.length; place += 1) x[place] = Math.min(place * step, count - 1);
    }
    const between = { x: [], y: [] };
    if (withExtremes && extremes >= 0) {
      const offsets = blob(within, Uint8Array);
      blob(extremes, type).forEach((value, place) => {
        const stretch = Math.floor(place / 2);
        const offset = offsets[place] * Math.max(step, 256) / 256;
        const next = x[stretch + 1] ?? x[stretch] + offset;
        between.x.push(x[stretch] + (next - x[stretch]) * Math.min(1, offset / step));
        between.y.push(value);
      });
    }
    return { x, y, between };
  }

  /* The places of the two values between which x lies, of values that ascend; of one value its place. */
  function around(values, x) {
    let low = 0;
    let high = values.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (values[middle] <= x) low = middle;
      else high = middle;
    }
    return [low, high];
  }

  /* What y is at x, between the values that are known; outside of them nothing is. */
  function interpolated(known, x) {
    if (!(x >= known.x[0]) || !(x <= known.x.at(-1))) return NaN;
    const [low, high] = around(known.x, x);
    if (known.x[low] === x || low === high) return known.y[low];
    const share = (x - known.x[low]) / (known.x[high] - known.x[low]);
    return known.y[low] + share * (known.y[high] - known.y[low]);
  }

  function timesOf(metric, run) {
    return curves.times[curves.metrics[metric].times]?.[run];
  }

  /* When a row was logged; those after the last whose time was noted came soon, see RowTimes. */
  function moment({ x, y }, row) {
    const last = x.length - 1;
    if (row <= x[last]) return interpolated({ x, y }, row);
    const pace = last ? (y[last] - y[last - 1]) / (x[last] - x[last - 1]) : 0;
    return y[last] + pace * (row - x[last]);
  }

  let unitOfTime = null;

  function unit() {
    if (unitOfTime) return unitOfTime;
    const ends = curves.times.flat().map((packed) => unpacked(packed)?.y.at(-1) ?? 0);
    const longest = ends.reduce((most, end) => Math.max(most, end), 0);
    unitOfTime = longest > 7200 ? { name: "h", seconds: 3600 } : longest > 300 ? { name: "min", seconds: 60 }
      : { name: "s", seconds: 1 };
    return unitOfTime;
  }

  function smoothed(values, weight) {
    if (!weight) return values;
    let sum = 0;
    let total = 0;
    return values.map((value) => {
      if (!Number.isFinite(value)) return value;
      sum = weight * sum + (1 - weight) * value;
      total = weight * total + (1 - weight);
      return sum / total;
    });
  }

  /* One run's points, ordered by x; those of equal x are averaged. */
  function points(y, x, run, smoothing, withExtremes) {
    const ys = unpacked(curves.metrics[y].curves[run], withExtremes && !smoothing);
    if (!ys) return null;
    ys.y = smoothed(ys.y, smoothing);
    if (x !== "row") {
      const xs = unpacked(x === "time" ? timesOf(y, run) : curves.metrics[Number(x)].curves[run]);
      if (!xs) return null;
      const across = x === "time" ? (row) => moment(xs, row) / unit().seconds : (row) => interpolated(xs, row);
      ys.x = ys.x.map(across);
      ys.between.x = ys.between.x.map(across);
    }
    return { ...ordered(ys.x, ys.y), between: ys.between };
  }

  function isOrdered(x, y) {
    for (let place = 0; place < x.length; place += 1) {
      if (!Number.isFinite(x[place]) || Number.isNaN(y[place]) || x[place] <= x[place - 1]) return false;
    }
    return true;
  }

  function ordered(x, y) {
    if (isOrdered(x, y)) return { x, y };
    const places = x.map((_, place) => place).filter((place) => Number.isFinite(x[place]) &&
      !Number.isNaN(y[place]));
    places.sort((a, b) => x[a] - x[b]);
    const made = { x: [], y: [] };
    let count = 0;
    for (const place of places) {
      const last = made.x.length - 1;
      if (last >= 0 && made.x[last] === x[place]) {
        count += 1;
        made.y[last] += (y[place] - made.y[last]) / count;
      } else {
        made.x.push(x[place]);
        made.y.push(y[place]);
        count = 1;
      }
    }
    return made;
  }

  function commonPlaces(all, logarithmic) {
    const places = [...new Set(all.flatMap((one) => one.x))].sort((a, b) => a - b);
    if (places.length <= 2 * MOST_PLACES) return places;
    const usable = logarithmic ? places.filter((place) => place > 0) : places;
    const [first, last] = [usable[0], usable[usable.length - 1]];
    return Array.from({ length: MOST_PLACES }, (_, index) => {
      const share = index / (MOST_PLACES - 1);
      if (index === MOST_PLACES - 1) return last;
      return logarithmic ? first * (last / first) ** share : first + share * (last - first);
    });
  }

  /* Mean, and the lower and upper edge of the band, of several runs. */
  function summary(all, band, logarithmic) {
    const x = commonPlaces(all, logarithmic);
    const made = { x, mean: [], low: [], high: [] };
    for (const place of x) {
      const values = all.map((one) => interpolated(one, place)).filter((value) => !Number.isNaN(value));
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const spread = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
      made.mean.push(mean);
      made.low.push(band === "range" ? Math.min(...values) : mean - spread);
      made.high.push(band === "range" ? Math.max(...values) : mean + spread);
    }
    if (band === "range") all.forEach((one) => widen(made, one.between));
    return made;
  }

  function widen(band, between) {
    between.x.forEach((x, place) => {
      if (!(x >= band.x[0]) || Number.isNaN(between.y[place])) return;
      const [low] = around(band.x, x);
      band.low[low] = Math.min(band.low[low], between.y[place]);
      band.high[low] = Math.max(band.high[low], between.y[place]);
    });
  }

  function withBetween(one) {
    if (!one.between.x.length) return one;
    const places = [...one.x.map((x, place) => [x, one.y[place]]),
      ...one.between.x.map((x, place) => [x, one.between.y[place]])];
    return ordered(places.map(([x]) => x), places.map(([, y]) => y));
  }

  function groups(kind, colour) {
    const telling = settings.filter((field) => !field.seed && field.name !== colour?.name);
    const found = new Map();
    for (const run of selected) {
      const hue = colour ? colour.values[run] : null;
      const parts = kind === "run" ? [run] : kind === "colour" ? [] : telling.map((field) => field.values[run]);
      const key = JSON.stringify([hue, ...parts]);
      if (!found.has(key)) {
        const label = kind === "run" ? `run ${runs.ids[run]}`
          : telling.filter((field) => field.values[run] !== null)
            .map((field) => `${shortName(field.name)}=${shown(field.values[run])}`).join(", ");
        found.set(key, { hue, label, runs: [] });
      }
      found.get(key).runs.push(run);
    }
    return [...found.values()];
  }

  function shortName(name) {
    return name.replace(/^config\./, "");
  }

  function colours(all) {
    const hues = [...new Set(all.map((group) => group.hue))].sort(compare(1));
    const palette = PALETTES[isDark() ? "dark" : "light"];
    const scale = hues.length > palette.length && hues.every((hue) => typeof hue === "number");
    return new Map(hues.map((hue, place) => [hue, scale
      ? shade(place / (hues.length - 1))
      : palette[place % palette.length]]));
  }

  /* From violet by green to yellow, as bright as the theme needs. */
  function shade(share) {
    return `hsl(${Math.round(265 - 215 * share)}, 75%, ${isDark() ? 65 : 42}%)`;
  }

  function translucent(colour) {
    return colour.startsWith("#") ? `${colour}33` : colour.replace("hsl", "hsla").replace(")", ", 0.2)");
  }

  function layout(more) {
    const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), automargin: true };
    return { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style("--text") },
      margin: { t: 20, r: 20, b: 50, l: 60 }, hovermode: "closest",
      hoverlabel: { namelength: 60 }, ...more, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis } };
  }

  function drawCurves() {
    const [y, x] = [Number(byId("y").value), byId("x").value];
    const colour = settings.find((_, place) => String(place) === byId("colour").value);
    const [kind, band] = [byId("line").value, byId("band").value];
    const smoothing = Number(byId("smoothing").value);
    const [logX, logY] = [byId("log-x").checked, byId("log-y").checked];
    byId("band").disabled = kind === "run";
    const all = groups(kind, colour);
    const hues = colours(colour ? all : all.map((group, hue) => Object.assign(group, { hue })));
    const named = new Set();
    const traces = [];
    let lines = 0;
    for (const group of all) {
      const drawnRuns = group.runs.filter((run) => curves.metrics[y].curves[run]);
      const withExtremes = band === "range" || drawnRuns.length === 1; // means and deviations have none
      const found = drawnRuns.map((run) => points(y, x, run, smoothing, withExtremes))
        .filter((one) => one?.x.length);
      if (!found.length) continue;
      lines += 1;
      if (lines > MOST_LINES) continue;
      const name = plain(colour ? shown(group.hue) : group.label || "all runs");
      const line = found.length > 1 ? summary(found, band, logX) : withBetween(found[0]);
      const hue = hues.get(group.hue);
      const of = { type: "scatter", name, legendgroup: name, line: { color: hue, width: 2 } };
      if (found.length > 1 && band !== "none") {
        traces.push({ ...of, x: [...line.x, ...line.x.toReversed()], y: [...line.high, ...line.low.toReversed()],
          fill: "toself", fillcolor: translucent(hue), line: { width: 0 }, mode: "lines", hoverinfo: "skip",
          showlegend: false });
      }
      traces.push({ ...of, x: line.x, y: line.mean ?? line.y, mode: line.x.length > 1 ? "lines" : "markers",
        marker: { color: hue, size: 8 }, showlegend: !named.has(name),
        text: plain([colour ? group.label : "", counted(found.length, "run")].filter(Boolean).join(", ")),
        hoverinfo: "x+y+name+text" });
      named.add(name);
    }
    const nameX = x === "row" ? "row" : x === "time" ? `time since the start (${unit().name})`
      : curves.metrics[Number(x)].name;
    const nameY = curves.metrics[y].name;
    const untimed = x === "time"
      ? selected.filter((run) => curves.metrics[y].curves[run] && !timesOf(y, run)).length : 0;
    Plotly.react("curves-plot", traces, layout({
      xaxis: { title: { text: plain(nameX) }, type: logX ? "log" : "linear" },
      yaxis: { title: { text: plain(nameY) }, type: logY ? "log" : "linear" },
      legend: { title: { text: colour ? plain(shortName(colour.name)) : "" } },
      showlegend: named.size > 1 || Boolean(colour),
    }), PLOT);
    byId("curves-note").textContent = [
      `${counted(selected.length, "run")}, ${counted(Math.min(lines, MOST_LINES), "line")}.`,
      lines > MOST_LINES ? `${lines - MOST_LINES} more lines are not drawn: search the table for fewer runs.` : "",
      untimed ? `${counted(untimed, "run")} without times of ${untimed === 1 ? "its" : "their"} rows ` +
        `${untimed === 1 ? "is" : "are"} left out.` : "",
      curves.step > 1 ? `Thinned to what a screen can show: of long curves, values up to ${curves.step} rows apart ` +
        "were kept, and the least and the greatest between." : "",
      curves.omitted.length ? `There was no room for the curves of ${counted(curves.omitted.length, "more metric")}.` : "",
    ].filter(Boolean).join(" ");
  }

  // Settings and results.

  /* An axis of the parallel coordinates: where each run is, from 0 to 1, and marks. */
  function parallelAxis(field, places) {
    const values = places.map((run) => field.values[run]);
    const distinct = [...new Set(values)].sort(inOrder);
    if (!distinct.every((value) => typeof value === "number")) {
      const at = (value) => (distinct.indexOf(value) + 0.5) / distinct.length;
      const every = Math.ceil(distinct.length / 12);
      return { distinct, at: values.map(at), marks: distinct.filter((_, place) => place % every === 0)
        .map((value) => [at(value), shown(value).slice(0, 20)]) };
    }
    const [first, last] = [distinct[0], distinct[distinct.length - 1]];
    const scale = first > 0 && last / first >= 50 ? Math.log : (value) => value;
    const at = (value) => (first === last ? 0.5 : (scale(value) - scale(first)) / (scale(last) - scale(first)));
    const even = [0, 0.25, 0.5, 0.75, 1].map((share) => (scale === Math.log
      ? first * (last / first) ** share : first + share * (last - first)));
    return { distinct, at: values.map(at), marks: (distinct.length <= 12 && areApart(distinct.map(at)) ? distinct : even)
      .map((value) => [at(value), String(Number(value.toPrecision(3)))]) };
  }

  function areApart(marks) {
    return marks.every((mark, place) => !place || mark - marks[place - 1] > 0.05);
  }

  /* Values in the order in which they stand on an axis. */
  const inOrder = (a, b) => compare(1)(a ?? "", b ?? "");

  function isWithinLimits(run) {
    return [...limits].every(([{ values }, [least, greatest]]) =>
      inOrder(values[run], least) >= 0 && inOrder(values[run], greatest) <= 0);
  }

  /* Lines in the colours of the metric, several to a trace: a trace for each run is slow. */
  function parallelTraces(places, axes) {
    const last = axes[axes.length - 1].at;
    const bins = new Map();
    places.forEach((run, index) => {
      const bin = !isWithinLimits(run) ? -1 : Math.min(SHADES - 1, Math.floor(last[index] * SHADES));
      if (!bins.has(bin)) bins.set(bin, []);
      bins.get(bin).push(index);
    });
    return [...bins].sort(([a], [b]) => a - b).map(([bin, indexes]) => {
      const hue = bin < 0 ? style("--line") : shade(bin / (SHADES - 1));
      const gapped = (of) => indexes.flatMap((index) => [...axes.map((one, place) => of(one, place, index)), null]);
      return { type: "scatter", mode: "lines", line: { color: hue, width: bin < 0 ? 0.7 : 1.5 },
        opacity: bin < 0 ? 0.6 : 0.85, showlegend: false, hoverinfo: "text",
        x: gapped((_, place) => place), y: gapped((one, _, index) => one.at[index]),
        text: gapped((one, _, index) => plain(`run ${runs.ids[places[index]]}: ` +
          `${shortName(one.field.name)} ${shown(one.field.values[places[index]])}`)) };
    });
  }

  /* Where lines meet axes, each once: boxes choose among markers, of which many are slow. */
  function knots(axes) {
    const found = axes.flatMap((one, place) => [...new Set(one.at)].map((at) => [place, at]));
    const marker = { color: style("--muted"), size: 3 };
    return { type: "scatter", mode: "markers", x: found.map(([place]) => place), y: found.map(([, at]) => at),
      marker, selected: { marker }, unselected: { marker: { opacity: 1 } }, hoverinfo: "skip", showlegend: false };
  }

  let drawn = { places: [], axes: [] };

  /* Limits the axes that a box covers to the values in it. */
  function limitToBox({ x, y }) {
    const within = (value, [from, to]) => value >= Math.min(from, to) && value <= Math.max(from, to);
    drawn.axes.filter((_, place) => within(place, x)).forEach(({ field, at }) => {
      const inside = drawn.places.filter((run, index) => within(at[index], y) && isWithinLimits(run))
        .map((run) => field.values[run]).sort(inOrder);
      if (inside.length) limits.set(field, [inside[0], inside[inside.length - 1]]);
    });
    filter();
  }

  /* Has the table, and by that the plots, show the runs within the limits. */
  function filter() {
    table.draw();
  }

  /* Two sliders for each axis: what boxes do, by the keyboard. */
  function drawLimits() {
    byId("limits-of-axes").replaceChildren(...drawn.axes.map(({ field, distinct }) => {
      const [least, greatest] = limits.get(field) ?? [distinct[0], distinct[distinct.length - 1]];
      const places = [distinct.findIndex((value) => inOrder(value, least) >= 0),
        distinct.findLastIndex((value) => inOrder(value, greatest) <= 0)];
      const said = element("output", "");
      const sliders = places.map((place, end) => element("input", null, { type: "range", min: 0,
        max: distinct.length - 1, value: place, ariaLabel: `${shortName(field.name)} ${end ? "to" : "from"}` }));
      const chosen = () => sliders.map((slider) => distinct[Number(slider.value)]);
      const say = () => {
        said.textContent = chosen().map(shown).join(" to ");
        sliders.forEach((slider) => slider.setAttribute("aria-valuetext", shown(distinct[Number(slider.value)])));
      };
      sliders.forEach((slider, end) => slider.addEventListener("input", () => {
        const other = sliders[1 - end];
        if (end ? Number(slider.value) < Number(other.value) : Number(slider.value) > Number(other.value)) {
          other.value = slider.value;
        }
        say();
        limits.set(field, chosen());
        filter();
      }));
      say();
      return element("div", null, { role: "group", ariaLabel: shortName(field.name) },
        [element("span", shortName(field.name)), ...sliders, said]);
    }));
  }

  function drawParallel() {
    const metric = fields.find((field) => field.kind === "metric" && field.name === byId("result").value);
    const places = searched.filter((run) => typeof metric?.values[run] === "number");
    const used = settings.slice(0, MOST_AXES);
    const note = byId("parallel-note");
    const plot = byId("parallel-plot");
    plot.hidden = places.length < 2 || !used.length;
    byId("limits").hidden = plot.hidden;
    byId("all-runs").hidden = !limits.size;
    if (plot.hidden) {
      note.textContent = "It takes two runs with different settings and a last value of this metric.";
      return;
    }
    const axes = [...used, metric].map((field) => ({ field, ...parallelAxis(field, places) }));
    drawn = { places, axes };
    plot.style.minWidth = `${110 * axes.length}px`;
    const mark = (place) => ([y, text]) => ({ x: place, y, text: plain(text), showarrow: false, xanchor: "left",
      xshift: 3, font: { size: 11 }, bgcolor: style("--page"), opacity: 0.85 });
    Plotly.react(plot, [...parallelTraces(places, axes), knots(axes)], layout({
      dragmode: "select",
      margin: { t: 50, r: 60, b: 15, l: 30 },
      annotations: axes.flatMap((one, place) => one.marks.map(mark(place))),
      shapes: axes.map((_, place) => ({ type: "line", x0: place, x1: place, y0: 0, y1: 1, layer: "below",
        line: { color: style("--muted"), width: 1 } })),
      xaxis: { tickvals: axes.map((_, place) => place), side: "top", fixedrange: true, showgrid: false,
        zeroline: false, ticktext: axes.map((one) => plain(shortened(shortName(one.field.name)))),
        range: [-0.1, axes.length - 0.9] },
      yaxis: { visible: false, range: [-0.05, 1.05], fixedrange: true },
    }), { ...PLOT, displayModeBar: false });
    if (!byId("limits-of-axes").contains(document.activeElement)) drawLimits();
    const left = searched.length - places.length;
    note.textContent = [
      "Drag a box over an axis to choose runs for the table and the curves, too, and another to narrow the choice; " +
        "a double click takes it back.",
      limits.size ? `${counted(selected.length, "run")} of ${searched.length} chosen.` : "",
      left ? `${counted(left, "run")} without a number there ${left === 1 ? "is" : "are"} left out.` : "",
      settings.length > used.length ? `The first ${used.length} of ${settings.length} settings that differ.` : "",
    ].filter(Boolean).join(" ");
  }

  /* The end of a name tells more than its beginning. */
  function shortened(name) {
    return name.length > 18 ? `…${name.slice(-17)}` : name;
  }

  function watchBoxes() {
    const plot = byId("parallel-plot");
    byId("all-runs").addEventListener("click", removeLimits);
    if (!plot.on) return; // nothing was drawn
    plot.on("plotly_selected", (event) => {
      if (!event?.range) return;
      Plotly.relayout(plot, { selections: [] });
      limitToBox(event.range);
    });
    plot.on("plotly_deselect", removeLimits);
  }

  function removeLimits() {
    limits.clear();
    drawLimits();
    filter();
  }

  function drawInfluence() {
    const name = byId("result").value;
    const found = content.influence[name] ?? { settings: [], runs: 0 };
    const computed = found.settings.some((one) => typeof one.importance === "number");
    const list = byId("influence");
    const bar = (share) => {
      const made = element("span", null, { className: "bar" });
      made.style.width = `${Math.round(Math.abs(share) * 100)}px`;
      return made;
    };
    byId("influence-metric").textContent = name;
    list.tHead.rows[0].replaceChildren(...["setting", "rank correlation", ...(computed ? ["importance"] : [])]
      .map((title) => element("th", title, { scope: "col" })));
    list.tBodies[0].replaceChildren(...found.settings.map((one) => element("tr", null, {}, [
      element("th", shortName(one.name), { scope: "row" }),
      element("td", null, {}, [bar(one.correlation),
        one.ordered ? ` ${one.correlation > 0 ? "+" : ""}${one.correlation}` : ` ${one.correlation} (texts)`]),
      ...(computed ? [element("td", null, {}, [bar(one.importance), ` ${one.importance}`])] : []),
    ])));
    list.hidden = !found.settings.length;
    byId("influence-note").textContent = [
      found.settings.length ? `Over ${counted(found.runs, "run")} of this report, seeds left out: Spearman's rank ` +
        "correlation with the last value; for texts, how much of its ranks they explain (no sign)."
        : "Too few runs, or no settings that differ.",
      computed ? "Importance: the share of each setting in a random forest (scikit-learn)."
        : `Importances are computed for metrics named by --metric, with scikit-learn and ${content.fewest} runs.`,
    ].join(" ");
  }

  function drawPlots() {
    if (curves.metrics.length) drawCurves();
    drawParallel();
  }

  // Searches, failures and images.

  function drawSearches() {
    const place = byId("searches");
    place.hidden = !content.searches.length;
    place.querySelector("div").append(...content.searches.flatMap((one) => [
      element("h3", one.name),
      element("p", one.trials),
      ...one.best.map(({ words, run }) => element("p", null, {}, [
        `Best: ${words} `, ...(run < 0 ? [] : [runLink(run)])])),
      ...(one.importances.length ? [element("p", `Importances: ${one.importances
        .map(([name, share]) => `${name} ${share.toFixed(2)}`).join(", ")}`)] : []),
    ]));
  }

  function drawFailures() {
    const { runs: failed, count } = content.failures;
    const place = byId("failures");
    place.hidden = !failed.length;
    place.querySelector(".note").textContent =
      `${counted(count, "run")} failed or ${count === 1 ? "was" : "were"} killed` +
      `${failed.length < count ? `; the ${failed.length} newest are shown` : ""}.`;
    place.querySelector("div").append(...failed.map((one, index) => element("details", null, { open: index < 3 }, [
      element("summary", null, {}, [runLink(one.run), " ", statusMark(runs.statuses[one.run]),
        ` ${one.exception.split("\n").at(-1)}`]),
      ...(one.exception ? [element("pre", one.exception, { tabIndex: 0 })] : []),
      ...(one.tail ? [element("p", `The end of ${one.log}:`), element("pre", one.tail, { tabIndex: 0 })]
        : [element("p", "There is no log of what it printed.")]),
    ])));
  }

  function drawImages() {
    const { shown: images, count, limit: most, library } = content.images;
    const place = byId("images");
    place.hidden = !count;
    place.querySelector(".note").textContent = !library
      ? `${counted(count, "image")} in the runs; thumbnails need Pillow: pip install 'mlxpy[image]'.`
      : `${counted(images.length, "image")}${images.length < count ? ` of ${count}` : ""}, the newest runs' first; ` +
        `thumbnails have ${Math.round(most / 2 ** 20)} MB together at most.`;
    place.querySelector(".gallery").append(...images.map((image) => element("figure", null, {}, [
      element("img", null, { src: image.source, alt: image.name, loading: "lazy" }),
      element("figcaption", null, {}, [runLink(image.run), ` ${image.name}`]),
    ])));
  }

  // The page.

  function watchTheme() {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const mark = () => document.documentElement.classList.toggle("dark", dark.matches); // DataTables' sign
    mark();
    dark.addEventListener("change", () => {
      mark();
      drawPlots();
    });
  }

  function fillControls() {
    const metrics = curves.metrics.map((metric, place) => [String(place), metric.name]);
    const results = Object.keys(content.influence).map((name) => [name, name]);
    const first = Math.max(0, curves.metrics.findIndex((metric) => metric.name === results[0]?.[0]));
    fill(byId("y"), metrics, String(first));
    fill(byId("x"), [["row", "row"], ...(curves.times.length ? [["time", "time"]] : []), ...metrics], "row");
    const hue = settings.findIndex((field) => !field.seed);
    fill(byId("colour"), [["", "none"], ...settings.map((field, place) => [String(place), shortName(field.name)])],
      hue < 0 ? "" : String(hue));
    fill(byId("result"), results, results[0]?.[0] ?? "");
    // Many settings are a tangle: the page begins with a line for each colour then.
    byId("line").value = groups("setting", settings[hue]).length > READABLE_LINES && hue >= 0 ? "colour" : "setting";
    byId("curves").hidden = !metrics.length;
    byId("parallel").hidden = !results.length;
    for (const id of ["y", "x", "colour", "line", "band", "smoothing", "log-x", "log-y"]) {
      byId(id).addEventListener("input", drawCurves);
    }
    byId("result").addEventListener("input", () => {
      if (limits.delete(drawn.axes.at(-1)?.field)) filter(); // nobody sees the limits of what is no axis any more
      drawParallel();
      drawInfluence();
    });
  }

  /* What is further down comes after what one sees: when it is scrolled to, or nothing else is to be done. */
  function seenOrIdle(place) {
    return new Promise((done) => {
      new IntersectionObserver(([entry], observer) => {
        if (!entry.isIntersecting) return;
        observer.disconnect();
        done();
      }).observe(place);
      setTimeout(done, IDLE_MS);
    });
  }

  function drawHead() {
    document.title = `Runs of ${content.logs}`;
    byId("logs").textContent = content.logs;
    byId("about").textContent = [counted(runs.ids.length, "run"), content.query, `made ${content.made}`]
      .filter(Boolean).join(" · ");
    const sections = [...document.querySelectorAll("main > section")].filter((section) => !section.hidden);
    document.querySelector("nav").append(...sections.map((section) =>
      element("a", section.querySelector("h2").textContent, { href: `#${section.id}` })));
  }

  try {
    watchTheme();
    fillControls();
    drawSearches();
    drawFailures();
    drawImages();
    drawSame();
    drawHead();
    await drawTable();
    if (curves.metrics.length) drawCurves();
    drawInfluence();
    document.documentElement.dataset.ready = "above";
    await seenOrIdle(byId("parallel"));
    drawParallel();
    watchBoxes();
    document.documentElement.dataset.ready = "all";
  } catch (error) {
    byId("trouble").hidden = false;
    byId("trouble").textContent = `This report could not be drawn: ${error.message}`;
    throw error;
  }
})();
