// Charts, drawn by uPlot. Their values can also be read with the keyboard and in the legend.
import { html, useEffect, useLayoutEffect, useRef, useState } from "./framework.js";
import { axisNumber, milliseconds, percent, rate, timeOf } from "./format.js";

const { uPlot } = globalThis;
const LEAST_SECONDS = 60;

export const colourName = (version) => (version.colour === null ? "--neutral" : `--version-${version.colour}`);
const cssColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const Swatch = ({ name, line }) => html`<span class=${`swatch ${line ? "line" : ""} ${name ? "" : "unused"}`}
  style=${{ background: name ? `var(${name})` : "none" }} aria-hidden="true"></span>`;

const axis = (values, size) => ({
  stroke: cssColour("--muted"), grid: { stroke: cssColour("--grid"), width: 1 }, ticks: { show: false },
  font: "12px Inter, system-ui, sans-serif", values, size, gap: 6,
});

const clockAxis = () => ({ ...axis((_, splits) => splits.map((at) => timeOf(at * 1000)), 28), space: 90 });

// `options` makes the options of uPlot, without the size, and is called again when `shape` or the theme changes.
const Plot = ({ options, data, shape, height, label, describe, onPlace }) => {
  const box = useRef(null);
  const plot = useRef(null);
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  const [place, setPlace] = useState(null);
  const tell = useRef(null);
  tell.current = (index) => { setPlace(index); onPlace?.(index); };
  useEffect(() => {
    const listen = () => setTheme(document.documentElement.dataset.theme);
    addEventListener("theme", listen);
    return () => removeEventListener("theme", listen);
  }, []);
  useLayoutEffect(() => {
    const target = box.current;
    const made = new uPlot({
      ...options(), width: target.clientWidth, height, legend: { show: false },
      hooks: { setCursor: [(chart) => tell.current(chart.cursor.left >= 0 ? chart.cursor.idx : null)] },
    }, data, target);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: target.clientWidth, height }));
    observer.observe(target);
    return () => { observer.disconnect(); made.destroy(); };
  }, [shape, theme, height]);
  useLayoutEffect(() => { plot.current.setData(data); }, [data]);
  const last = data[0].length - 1;
  const move = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") plot.current.setCursor({ left: -10, top: -10 });
    if (!step || last < 0) return;
    event.preventDefault();
    const next = Math.min(last, Math.max(0, (place ?? last) + step));
    plot.current.setCursor({ left: plot.current.valToPos(data[0][next], "x"), top: 10 });
  };
  const at = Math.max(0, Math.min(last, place ?? last));
  return html`<div class="plot" ref=${box} tabindex="0" role="slider" aria-label=${label} aria-valuemin="0"
    aria-valuemax=${Math.max(0, last)} aria-valuenow=${at} aria-valuetext=${last < 0 ? "no data" : describe(at)}
    style=${{ minHeight: `${height}px` }} onKeyDown=${move}></div>`;
};

const timeRange = (rows, seconds) => {
  const end = rows.length ? rows[rows.length - 1].at : Math.floor(Date.now() / 1000);
  const begin = Math.max(rows.length ? rows[0].at : end, end - seconds);
  return [Math.min(begin, end - LEAST_SECONDS), end];
};

const Legend = ({ at, entries }) => html`<ul class="legend">
  ${at && html`<li class="muted">${at}</li>`}
  ${entries.map((one) => html`<li key=${one.key}><${Swatch} name=${one.colour} line=${one.line} /> ${one.name}
    ${one.value !== undefined && html`<b>${one.value}</b>`}</li>`)}
</ul>`;

// Rates by version of each row. A second of which no result was read is divided as the one before.
const ratesOf = (rows, versions) => {
  let shares = {};
  return rows.map((row) => {
    if (row.rate > 0 && !Object.keys(row.rates).length) {
      return versions.map((version) => (shares[version.number] ?? 0) * row.rate);
    }
    if (row.rate > 0) {
      shares = Object.fromEntries(Object.entries(row.rates).map(([number, value]) => [number, value / row.rate]));
    }
    return versions.map((version) => row.rates[version.number] ?? 0);
  });
};

// A batch is written at once, so single seconds jump: each row is the mean of three.
const smoothed = (rates) => rates.map((row, place) => {
  const near = rates.slice(Math.max(0, place - 1), place + 2);
  return row.map((_, version) => near.reduce((sum, one) => sum + one[version], 0) / near.length);
});

const stacked = (rates) => {
  const sums = rates.map((row) => { let sum = 0; return row.map((value) => (sum += value)); });
  return (rates[0] ?? []).map((_, place) => sums.map((row) => row[place]));
};

export const ThroughputChart = ({ rows: all, versions: known, seconds }) => {
  const [place, setPlace] = useState(null);
  const range = timeRange(all, seconds);
  const rows = all.filter((row) => row.at >= range[0]);
  const used = new Set(rows.flatMap((row) => Object.keys(row.rates).map(Number)));
  const versions = known.filter((version) => used.has(version.number));
  const rates = smoothed(ratesOf(rows, versions));
  const shape = versions.map((version) => `${version.number}:${version.colour}`).join();
  const current = useRef(null);
  current.current = range;
  const options = () => ({
    scales: { x: { time: true, range: () => current.current }, y: { range: (_, __, high) => [0, Math.max(1, high * 1.08)] } },
    axes: [clockAxis(), axis((_, splits) => splits.map(axisNumber), 48)],
    cursor: { sync: { key: "time" }, y: false, points: { show: false }, drag: { x: false, y: false } },
    series: [{}, ...versions.map((version) => ({
      stroke: cssColour(colourName(version)), fill: `${cssColour(colourName(version))}b3`, width: 1.5, points: { show: false },
    }))],
    bands: versions.slice(1).map((_, place) => ({ series: [place + 2, place + 1] })),
  });
  const valueAt = (index, version) => rate(rates[index]?.[versions.indexOf(version)]);
  const describe = (index) => `${timeOf(rows[index].at * 1000)}: ${versions.map((version) =>
    `${version.label} ${valueAt(index, version)} a second`).join(", ") || "no results"}`;
  const shown = place !== null && rows[place] ? place : rows.length - 1;
  return html`<${Legend} at=${place !== null && rows[place] ? timeOf(rows[place].at * 1000) : null}
      entries=${versions.map((version) => ({
        key: version.number, colour: colourName(version), name: version.label, value: `${valueAt(shown, version)}/s`,
      }))} />
    <${Plot} options=${options} data=${[rows.map((row) => row.at), ...stacked(rates)]} shape=${shape} height=${250}
      label="Results a second, by version" describe=${describe} onPlace=${setPlace} />`;
};

const LATENCIES = [
  { key: "p99", name: "99th percentile", colour: "--latency-high" },
  { key: "p50", name: "median", colour: "--latency" },
  { key: "call", name: "median call of the model", colour: "--neutral", dash: [4, 4] },
];

export const LatencyChart = ({ rows: all, seconds }) => {
  const [place, setPlace] = useState(null);
  const range = timeRange(all, seconds);
  const rows = all.filter((row) => row.at >= range[0]);
  const current = useRef(null);
  current.current = range;
  const options = () => ({
    scales: { x: { time: true, range: () => current.current }, // From microseconds of a call to seconds of a backlog.
      y: { distr: 3, range: (_, low, high) => uPlot.rangeLog(low || 1, high || 10, 10, true) } },
    axes: [clockAxis(), { ...axis((_, splits) => splits.map((value) => (value === null ? "" : `${axisNumber(value)} ms`)), 62),
      grid: { stroke: cssColour("--grid"), width: 1, filter: powersOfTen }, filter: powersOfTen }],
    cursor: { sync: { key: "time" }, y: false, points: { show: false }, drag: { x: false, y: false } },
    series: [{}, ...LATENCIES.map((one) => ({
      stroke: cssColour(one.colour), width: 2, dash: one.dash, spanGaps: true, points: { show: false },
    }))],
  });
  const data = [rows.map((row) => row.at), ...LATENCIES.map((one) => rows.map((row) => row[one.key] || null))];
  const describe = (index) => `${timeOf(rows[index].at * 1000)}: ${LATENCIES.map((one) =>
    `${one.name} ${milliseconds(rows[index][one.key])}`).join(", ")}`;
  const shown = rows[place ?? -1] ?? rows.findLast((row) => row.p50 !== undefined && row.p50 !== null) ?? rows[rows.length - 1];
  return html`<${Legend} at=${place !== null && rows[place] ? timeOf(rows[place].at * 1000) : null}
      entries=${LATENCIES.map((one) => ({ ...one, line: true, value: milliseconds(shown?.[one.key]) }))} />
    <${Plot} options=${options} data=${data} shape="latency" height=${210} label="Latency" describe=${describe}
      onPlace=${setPlace} />`;
};

const powersOfTen = (_, splits) => splits.map((value) => (Number.isInteger(Math.log10(value)) ? value : null));

const MOST_COMPARED = 4;

export const PredictionsChart = ({ chart, versions: known }) => {
  const [place, setPlace] = useState(null);
  const versions = known.filter((version) => chart.shares[version.number]).slice(-MOST_COMPARED);
  const bins = chart.kind === "number" ? chart.edges.length - 1 : chart.labels.length;
  const edges = chart.kind === "number" ? chart.edges : Array.from({ length: bins + 1 }, (_, index) => index);
  const nameOf = (index) => (chart.kind === "number"
    ? `${axisNumber(edges[index])} to ${axisNumber(edges[index + 1])}` : chart.labels[index]);
  const current = useRef(null);
  current.current = chart;
  const labelAxis = () => ({
    ...axis((_, splits) => splits.map((split) => current.current.labels[Math.floor(split)] ?? ""), 28),
    splits: () => current.current.labels.map((_, index) => index + 0.5), grid: { show: false },
    filter: (chart, splits) => {
      const every = Math.ceil(splits.length / Math.max(1, Math.floor(chart.width / 56)));
      return splits.map((split, index) => (index % every ? null : split));
    },
  });
  const options = () => ({
    scales: { x: { time: false, range: (_, low, high) => [low, high] }, y: { range: (_, __, high) => [0, Math.max(1, (high ?? 1) * 1.1)] } },
    axes: [chart.kind === "number" ? axis((_, splits) => splits.map(axisNumber), 28) : labelAxis(),
      axis((_, splits) => splits.map((value) => `${value} %`), 48)],
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    series: [{}, ...versions.map((version) => ({
      stroke: cssColour(colourName(version)), fill: `${cssColour(colourName(version))}33`, width: 2,
      paths: uPlot.paths.stepped({ align: 1 }), points: { show: false },
    }))],
  });
  const data = [edges, ...versions.map((version) => {
    const shares = chart.shares[version.number];
    return [...shares, shares[shares.length - 1]];
  })];
  const binOf = (index) => Math.min(bins - 1, Math.max(0, index));
  const value = (index, version) => percent(chart.shares[version.number][binOf(index)] / 100);
  const describe = (index) => `${nameOf(binOf(index))}: ${versions.map((version) =>
    `${version.label} ${value(index, version)}`).join(", ")}`;
  const shape = `${chart.output} ${chart.kind} ${versions.map((version) => version.number).join()}`;
  return html`<${Legend} at=${place === null ? null : nameOf(binOf(place))} entries=${versions.map((version) => ({
      key: version.number, colour: colourName(version), name: version.label,
      value: place === null ? undefined : value(place, version),
    }))} />
    <${Plot} options=${options} data=${data} shape=${shape} height=${210} describe=${describe} onPlace=${setPlace}
      label=${`Distribution of ${chart.output}, in percent of predictions`} />`;
};
