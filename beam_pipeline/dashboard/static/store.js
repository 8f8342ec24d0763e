// What the server has sent: the sections by name, and the rows of the charts in the order of their time.
// A section that the server cannot make is missing.
const state = {
  connected: false, rows: [], window: 600, setup: null, versions: [], problems: {}, routes: [], models: [], changes: [],
  results: { recent: [], malformed: 0 }, predictions: [],
};
const listeners = new Set();

export const subscribe = (listener) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};
export const current = () => state;

const changed = () => listeners.forEach((listener) => listener());

const SECTIONS = [
  "setup", "now", "versions", "problems", "routes", "models", "changes", "results", "predictions", "workers", "refusals",
  "status", "letters", "drift",
];

const addRows = ({ window, rows }) => {
  if (!rows.length) return;
  const first = rows[0].at;
  const end = rows[rows.length - 1].at;
  const kept = state.rows.filter((row) => row.at < first && row.at > end - window);
  state.rows = [...kept, ...rows];
  state.window = window;
};

export const connect = () => {
  const source = new EventSource("/api/events");
  for (const name of SECTIONS) {
    source.addEventListener(name, (event) => { state[name] = JSON.parse(event.data); });
  }
  // The rows are the last event of a second.
  source.addEventListener("rows", (event) => {
    addRows(JSON.parse(event.data));
    state.connected = true;
    changed();
  });
  source.onerror = () => {
    state.connected = false;
    changed();
    // The browser gives up after an answer that is not a stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  };
};
