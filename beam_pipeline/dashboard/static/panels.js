// The panels: each shows one section. Every text comes from topics, and Preact escapes it.
import { html, useState } from "./framework.js";
import { colourName, Swatch } from "./chart.js";
import { bytes, count, milliseconds, momentOf, percent, plural, rate, timeOf } from "./format.js";

export const Panel = ({ title, note, tools, span, children }) => html`<section class=${`panel ${span ?? ""}`}>
  <header><h2>${title}</h2>${note && html`<span class="muted">${note}</span>`}<span class="tools">${tools}</span></header>
  ${children}
</section>`;

const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

// A table that scrolls sideways must be reachable by the keyboard.
const Scrolling = ({ label, tall, children }) =>
  html`<div class=${tall ? "scrolling tall" : "scrolling"} tabindex="0" role="region" aria-label=${label}>${children}</div>`;

export const Badge = ({ kind, children }) => html`<span class=${`badge ${kind ?? ""}`}>${children}</span>`;

const labelOf = (model) => `${model.name}/${model.version}`;
export const colourOf = (versions, label) => {
  const found = versions.find((version) => version.label === label);
  return found ? colourName(found) : null;
};

export const Figures = ({ state }) => {
  const { now, routes, letters, workers, versions } = state;
  const attention = workers?.filter((worker) => worker.attention).length ?? 0;
  const answering = versions.filter((version) => now.shares[version.number]);
  const figures = [
    { name: "Results a second", value: rate(now.rate), more: `${count(now.results)} seen` },
    { name: "Median latency", value: milliseconds(now.p50), more: "record to result" },
    { name: "99th percentile", value: milliseconds(now.p99), more: "record to result" },
    { name: "Errors", value: percent(now.errors), kind: now.errors > 0 ? "bad" : "", more: "of the last 10 s" },
    { name: "Answering", value: answering.length === 1 ? answering[0].label : `${answering.length || "no"} versions`,
      colour: answering.length === 1 ? colourName(answering[0]) : null, more: plural(routes.length, "data type") },
    letters && { name: "Dead letters", value: letters.kept >= 200 ? "200+" : count(letters.kept), kind: letters.kept ? "warn" : "", more: letters.letters.length ? `last ${momentOf(letters.letters[0].at)}` : "none" },
    workers && { name: "Workers", value: count(workers.length), kind: attention ? "warn" : "",
      more: attention ? `${attention} behind or silent` : "all up to date" },
  ].filter(Boolean);
  return html`<dl class="figures">${figures.map((one) => html`<div key=${one.name} class=${`figure ${one.kind ?? ""}`}>
    <dt>${one.name}</dt><dd>${one.colour && html`<${Swatch} name=${one.colour} />`}<span>${one.value}</span></dd><dd class="muted">${one.more}</dd>
  </div>`)}</dl>`;
};

const Arm = ({ arm, versions }) => html`<li>
  <div class="between"><span><${Swatch} name=${colourOf(versions, arm.label)} /> <b>${arm.label}</b>
    ${arm.role !== "serve" && html` <${Badge}>${arm.role}</${Badge}>`}
    ${arm.guarded && html` <${Badge} kind="good">guarded</${Badge}>`}</span>
    <span class="number">${percent(arm.share)}</span></div>
  <div class="bar" aria-hidden="true"><span style=${{ width: `${100 * arm.share}%`, background: `var(${colourOf(versions, arm.label) ?? "--neutral"})` }}></span></div>
</li>`;

export const Routes = ({ routes, versions, act }) => html`<${Panel} title="Routes" note="which version answers" span="third">
  ${!routes.length && html`<${Empty}>No model is live yet.</${Empty}>`}
  <div class="scrolling routes" tabindex="0" role="region" aria-label="Routes">
  ${routes.map((route) => html`<article class="route" key=${route.data_type}>
    <div class="between"><h3>${route.data_type}</h3>
      ${act && route.can_roll_back && html`<button class="small" onClick=${() => act.rollBack(route)}>Roll back</button>`}</div>
    ${route.segments.map((segment, place) => html`<div key=${place}>
      ${(segment.condition || route.segments.length > 1) && html`<p class="condition">${segment.condition ?? "otherwise"}</p>`}
      <ul class="arms">${segment.arms.map((arm) => html`<${Arm} key=${arm.name} arm=${arm} versions=${versions} />`)}</ul>
    </div>`)}
    <p class="muted small-text">${route.declared ? `changed ${momentOf(route.updated_at)}` : "no route: the live version answers"}
      ${route.note && ` · ${route.note}`}</p>
  </article>`)}</div>
</${Panel}>`;

const STATES = { serving: "good", failed: "bad", loading: "info", live: "good" };

const rowsOf = (models) => models.flatMap((model) => (model.status.length ? model.status : [null])
  .map((status) => ({ model, status, state: status?.state ?? (model.state || "stored") })));

export const Models = ({ models, versions, act }) => {
  const rows = rowsOf(models);
  const several = new Set(rows.map(({ status }) => status?.deployment).filter(Boolean)).size > 1;
  return html`<${Panel} title="Models" note=${plural(models.length, "version")} span="full"
    tools=${act && html`<button class="small" onClick=${act.publish}>Publish a model</button>`}>
    ${!rows.length && html`<${Empty}>No model has been published.</${Empty}>`}
    ${rows.length > 0 && html`<${Scrolling} label="Models" tall=${true}><table><thead><tr><th>Model</th><th>State</th>
      ${several && html`<th>Deployment</th>`}
      <th class="number">Records</th><th class="number">Errors</th><th class="number">Call p50</th><th class="number">Call p99</th>
      <th class="number">Memory</th><th>Published</th><th>Type</th><th>Description</th>${act && html`<th><span class="hidden">Action</span></th>`}</tr></thead>
      <tbody>${rows.map(({ model, status, state }) => html`<tr key=${`${labelOf(model)} ${status?.deployment ?? ""}`}>
        <th scope="row"><${Swatch} name=${colourOf(versions, labelOf(model))} /> ${labelOf(model)}
          ${model.state && html` <${Badge} kind=${STATES[model.state]}>${model.state}</${Badge}>`}</th>
        <td><${Badge} kind=${STATES[state]}>${state}</${Badge}></td>
        ${several && html`<td>${status?.deployment}</td>`}
        <td class="number">${count(status?.usage)}</td><td class="number">${count(status?.errors)}</td>
        <td class="number">${milliseconds(status?.usage ? status.p50 : null)}</td><td class="number">${milliseconds(status?.usage ? status.p99 : null)}</td>
        <td class="number">${bytes(status?.memory || null)}</td><td>${momentOf(model.published_at)}</td><td>${model.type}</td>
        <td class="wide">${model.description}</td>
        ${act && html`<td>${html`<button class="small" onClick=${() => act.promote(model)} aria-label=${`Promote ${labelOf(model)}`}>Promote</button>`}</td>`}
      </tr>`)}</tbody></table></${Scrolling}>`}
  </${Panel}>`;
};

export const Results = ({ results, versions, open }) => {
  const [held, setHeld] = useState(null);
  const [place, setPlace] = useState("");
  const shown = (held ?? results.recent).slice(0, 12);
  const hold = () => setHeld((now) => now ?? results.recent);
  const release = (event) => { if (!event.currentTarget.contains(event.relatedTarget)) setHeld(null); };
  const found = /(\d+)[:@](\d+)\s*$/.exec(place);
  const look = (event) => {
    event.preventDefault();
    if (found) open(Number(found[1]), Number(found[2]));
  };
  return html`<${Panel} title="Results" span="half"
    note=${held ? "paused while you choose" : results.malformed ? `${count(results.malformed)} could not be decoded` : "a sample of the last ones"}
    tools=${html`<form class="look" onSubmit=${look}><label class="hidden" for="place">Partition and offset of a result</label>
      <input id="place" value=${place} onInput=${(event) => setPlace(event.target.value)} placeholder="partition:offset" />
      <button class="small" disabled=${!found}>Follow</button></form>`}>
    ${!shown.length && html`<${Empty}>No results yet.</${Empty}>`}
    ${shown.length > 0 && html`<div onMouseEnter=${hold} onMouseLeave=${() => setHeld(null)} onFocusIn=${hold} onFocusOut=${release}>
      <${Scrolling} label="Results"><table><thead><tr><th>Time</th><th>Record</th><th>Version</th><th>Outputs</th></tr></thead>
      <tbody>${shown.map((one) => html`<tr key=${`${one.partition}:${one.offset}`}>
        <td class="nowrap">${timeOf(one.at)}</td>
        <td class="nowrap"><button class="link" onClick=${() => open(one.partition, one.offset)}
          aria-label=${`Follow the result of ${one.record}`}>${one.record}</button></td>
        <td class="nowrap"><${Swatch} name=${colourOf(versions, one.label)} /> ${one.label}</td>
        <td class=${one.failed ? "wide bad-text" : "wide"}>${one.text}</td></tr>`)}</tbody></table></${Scrolling}></div>`}
  </${Panel}>`;
};

export const Letters = ({ letters, open }) => html`<${Panel} title="Dead letters"
    note=${letters.malformed ? `${count(letters.malformed)} could not be decoded` : letters.kept ? "the last ones" : ""}>
  ${!letters.letters.length && html`<${Empty}>None: every message could be read.</${Empty}>`}
  ${letters.letters.length > 0 && html`<${Scrolling} label="Dead letters" tall=${true}><table><thead><tr><th>Time</th><th>Record</th><th>Reason</th><th class="number">Size</th></tr></thead>
    <tbody>${letters.letters.map((one) => html`<tr key=${one.id}><td class="nowrap">${momentOf(one.at)}</td>
      <td class="nowrap"><button class="link" onClick=${() => open(one.id)} aria-label=${`Show the dead letter of ${one.record}`}>${one.record}</button>
        ${one.replayed && html` <${Badge} kind="good">replayed</${Badge}>`}</td>
      <td class="wide">${one.reason}</td><td class="number nowrap">${bytes(one.size)}</td></tr>`)}</tbody></table></${Scrolling}>`}
</${Panel}>`;

export const Refusals = ({ refusals }) => html`<${Panel} title="Refused models" note=${refusals.length ? "and why" : ""}>
  ${!refusals.length && html`<${Empty}>None: every published model could be loaded.</${Empty}>`}
  ${refusals.length > 0 && html`<ul class="entries scrolling tall" tabindex="0" aria-label="Refused models">${refusals.map((one) => html`<li key=${`${one.deployment} ${labelOf({ name: one.model, version: one.version })}`}>
    <div class="between"><span><b>${one.model}/${one.version}</b> <${Badge} kind=${one.resolved ? "good" : "bad"}>${one.resolved ? "serves now" : "refused"}</${Badge}></span>
      <span class="muted small-text">${plural(one.tries, "try").replace("trys", "tries")}, last ${momentOf(one.last)}</span></div>
    <p>${one.error}</p></li>`)}</ul>`}
</${Panel}>`;

export const Changes = ({ changes }) => html`<${Panel} title="Changes" note="of the models topic" span="half">
  ${!changes.length && html`<${Empty}>Nothing has been published.</${Empty}>`}
  ${changes.length > 0 && html`<ol class="entries scrolling tall" tabindex="0" aria-label="Changes">${changes.map((one) => html`<li key=${one.offset} class="change">
    <time class="muted">${momentOf(one.at)}</time><span><b>${one.subject}</b> ${one.change}</span></li>`)}</ol>`}
</${Panel}>`;

const noticeOf = (worker) => [
  worker.stopped !== null && `no longer follows the models topic: ${worker.stopped}`,
  worker.silent && "silent for more than 30 s",
  worker.lag === null ? "follows a models topic that was deleted" : worker.lag > 0 && `${plural(worker.lag, "message")} behind`,
  worker.waiting.length > 0 && `not loaded: ${worker.waiting.join(", ")}`,
].filter(Boolean).join("; ");

const workersNote = (workers, malformed) => [
  workers.length > 0 && plural(workers.length, "process").replace("processs", "processes"),
  malformed > 0 && `${plural(malformed, "event")} could not be decoded`,
].filter(Boolean).join("; ");

export const Workers = ({ workers, malformed }) => html`<${Panel} title="Workers" note=${workersNote(workers, malformed)}>
  ${!workers.length && html`<${Empty}>No worker has reported within the last hour.</${Empty}>`}
  ${workers.length > 0 && html`<${Scrolling} label="Workers" tall=${true}><table><thead><tr><th>Worker</th><th>Deployment</th><th class="number">Memory</th><th>Seen</th><th>State</th></tr></thead>
    <tbody>${workers.map((one) => html`<tr key=${`${one.deployment} ${one.worker}`} class=${one.attention ? "attention" : ""}>
      <th scope="row">${one.worker}</th><td>${one.deployment}</td><td class="number">${bytes(one.memory || null)}</td><td class="nowrap">${momentOf(one.seen)}</td>
      <td>${one.attention ? noticeOf(one) : html`<${Badge} kind="good">up to date</${Badge}>`}</td></tr>`)}</tbody></table></${Scrolling}>`}
</${Panel}>`;

export const Drift = ({ drift, versions }) => html`<${Panel} title="Drift" note=${drift.malformed ? `${count(drift.malformed)} could not be decoded` : ""}>
  ${!drift.events.length && html`<${Empty}>None has been found.</${Empty}>`}
  ${drift.events.length > 0 && html`<${Scrolling} label="Drift" tall=${true}><table><thead><tr><th>Time</th><th>Model</th><th>Field</th><th>Measure</th><th class="number">Value</th><th class="number">Limit</th></tr></thead>
    <tbody>${drift.events.map((one, place) => html`<tr key=${`${one.at} ${one.model} ${one.field} ${one.measure} ${place}`}>
      <td class="nowrap">${momentOf(one.at)}</td><td class="nowrap"><${Swatch} name=${colourOf(versions, `${one.model}/${one.version}`)} /> ${one.model}/${one.version}</td>
      <td>${one.field} <span class="muted">${one.kind}</span></td><td>${one.measure}</td><td class="number"><b>${Number(one.value.toPrecision(3))}</b></td>
      <td class="number">${Number(one.limit.toPrecision(3))}</td></tr>`)}</tbody></table></${Scrolling}>`}
</${Panel}>`;
