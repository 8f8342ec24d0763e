// The page: it follows the server's events and shows the panels.
import { html, render, useEffect, useState } from "./framework.js";
import { resume, signOut } from "./actions.js";
import { LatencyChart, PredictionsChart, ThroughputChart } from "./chart.js";
import { ActionDialog, LetterDialog, PublishDialog, TokenDialog, TraceDialog } from "./dialogs.js";
import { Changes, Drift, Figures, Letters, Models, Panel, Refusals, Results, Routes, Workers } from "./panels.js";
import { connect, current, subscribe } from "./store.js";

const RANGES = [[120, "2 min"], [600, "10 min"]];

const Ranges = ({ seconds, choose }) => html`<span class="choice" role="group" aria-label="Range of the charts">
  ${RANGES.map(([value, name]) => html`<button key=${value} class="small" aria-pressed=${seconds === value} onClick=${() => choose(value)}>${name}</button>`)}
</span>`;

const Header = ({ state, unlocked, unlock, lock }) => {
  const { setup, connected } = state;
  return html`<header class="page">
    <img src="/static/icon.svg" alt="" width="32" height="32" />
    <div class="name"><h1>beam-serving</h1><p class="muted">${setup.deployment ?? setup.topics.records.join(", ")} → ${setup.topics.results}</p></div>
    <span class=${connected ? "live" : "live lost"} role="status">${connected ? "Live" : "Reconnecting …"}</span>
    <button onClick=${() => globalThis.toggleTheme()}>Theme</button>
    ${setup.actions && (unlocked ? html`<button onClick=${lock}>Lock actions</button>` : html`<button onClick=${unlock}>Unlock actions</button>`)}
  </header>`;
};

const Predictions = ({ predictions, versions }) => {
  const [output, setOutput] = useState(null);
  const chart = predictions.find((one) => one.output === output) ?? predictions[0];
  return html`<${Panel} title="Predictions" span="half" note=${chart && html`<code>${chart.output}</code> by version`}
    tools=${predictions.length > 1 && html`<label><span class="hidden">Output</span>
      <select value=${chart.output} onChange=${(event) => setOutput(event.target.value)}>${predictions.map((one) => html`<option key=${one.output}>${one.output}</option>`)}</select></label>`}>
    ${chart ? html`<${PredictionsChart} key=${chart.output} chart=${chart} versions=${versions} />` : html`<p class="empty">No predictions yet.</p>`}
  </${Panel}>`;
};

const Problems = ({ problems }) => Object.keys(problems).length > 0 && html`<ul class="problems" role="status">
  ${Object.entries(problems).map(([topic, problem]) => html`<li key=${topic}><b>${topic}</b> ${problem}</li>`)}</ul>`;

const App = () => {
  const [, setTick] = useState(0);
  const [dialog, setDialog] = useState(null);
  const [unlocked, setUnlocked] = useState(false);
  const [seconds, setSeconds] = useState(600);
  useEffect(() => {
    resume().then(setUnlocked);
    return subscribe(() => setTick((tick) => tick + 1));
  }, []);
  const state = current();
  if (!state.now || !state.setup) return html`<main><p class="empty" role="status">${state.connected ? "Reading the topics …" : "Connecting …"}</p></main>`;
  const close = () => setDialog(null);
  const openResult = (partition, offset) => setDialog(html`<${TraceDialog} partition=${partition} offset=${offset} close=${close} />`);
  const openLetter = (identity) => setDialog(html`<${LetterDialog} identity=${identity} close=${close} />`);
  const act = unlocked && {
    promote: ({ name, version, data_type: dataType }) => setDialog(html`<${ActionDialog} title=${`Promote ${name}/${version}`} verb="Promote"
      text=${`${name}/${version} will answer all ${dataType} records.`} action="promote" request=${{ model: name, version }} close=${close} />`),
    rollBack: ({ data_type: dataType }) => setDialog(html`<${ActionDialog} title=${`Roll back ${dataType}`} verb="Roll back"
      text=${`What answered ${dataType} records before will answer them again.`} action="rollback" request=${{ data_type: dataType }} close=${close} />`),
    publish: () => setDialog(html`<${PublishDialog} close=${close} />`),
  };
  const { versions } = state;
  return html`<${Header} state=${state} unlocked=${unlocked}
      unlock=${() => setDialog(html`<${TokenDialog} close=${close} unlocked=${() => setUnlocked(true)} />`)}
      lock=${() => { signOut(); setUnlocked(false); }} />
    <main>
      <${Problems} problems=${state.problems} />
      <${Figures} state=${state} />
      <div class="grid">
        <${Panel} title="Throughput" note="which version answered when" span="two-thirds" tools=${html`<${Ranges} seconds=${seconds} choose=${setSeconds} />`}>
          <${ThroughputChart} rows=${state.rows} versions=${versions} seconds=${seconds} /></${Panel}>
        <${Routes} routes=${state.routes} versions=${versions} act=${act} />
        <${Panel} title="Latency" note="from the record to its result" span="half"><${LatencyChart} rows=${state.rows} seconds=${seconds} /></${Panel}>
        <${Predictions} predictions=${state.predictions} versions=${versions} />
        <${Models} models=${state.models} versions=${versions} act=${act} />
        <${Results} results=${state.results} versions=${versions} open=${openResult} />
        ${(state.letters || state.refusals) && html`<div class="stack half">
          ${state.letters && html`<${Letters} letters=${state.letters} open=${openLetter} />`}
          ${state.refusals && html`<${Refusals} refusals=${state.refusals} />`}
        </div>`}
        <${Changes} changes=${state.changes} />
        ${(state.workers || state.drift) && html`<div class="stack half">
          ${state.workers && html`<${Workers} workers=${state.workers} malformed=${state.status?.malformed} />`}
          ${state.drift && html`<${Drift} drift=${state.drift} versions=${versions} />`}
        </div>`}
      </div>
    </main>
    <footer class="muted">Read from topics only, once a second. Times are those of this browser.</footer>
    ${dialog}`;
};

render(html`<${App} />`, document.getElementById("app"));
connect();
