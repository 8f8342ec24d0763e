// Dialogs: one result followed to its model, the payload of a dead letter, and the confirmation of actions.
import { html, useEffect, useRef, useState } from "./framework.js";
import { Badge } from "./panels.js";
import { bytes, milliseconds, preciseMoment } from "./format.js";
import { ask, currentSession, signIn } from "./actions.js";

export const Dialog = ({ title, close, narrow, children }) => {
  const element = useRef(null);
  useEffect(() => { element.current.showModal(); }, []);
  return html`<dialog ref=${element} class=${narrow ? "narrow" : ""} aria-labelledby="dialog-title" onClose=${close}
      onClick=${(event) => { if (event.target === element.current) element.current.close(); }}>
    <header><h2 id="dialog-title">${title}</h2>
      <button class="small" onClick=${() => element.current.close()}>Close</button></header>
    <div class="body">${children}</div>
  </dialog>`;
};

const Loaded = ({ url, children }) => {
  const [answer, setAnswer] = useState({});
  useEffect(() => {
    let wanted = true;
    ask(url).then((value) => wanted && setAnswer({ value }), (error) => wanted && setAnswer({ error: error.message }));
    return () => { wanted = false; };
  }, [url]);
  if (answer.error) return html`<p role="alert" class="bad-text">${answer.error}</p>`;
  return answer.value ? children(answer.value) : html`<p class="muted" role="status">Reading the topics …</p>`;
};

const Facts = ({ facts }) => html`<dl class="facts">${facts.filter(([, value]) => value !== null && value !== undefined && value !== "")
  .map(([name, value]) => html`<div key=${name} class=${String(value).length > 48 ? "long" : ""}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

const Code = ({ label, children }) => html`<pre tabindex="0" role="region" aria-label=${label}>${children}</pre>`;

const Payload = ({ payload, size }) => html`
  ${payload.text !== null && html`<h3 class="minor">As text</h3><${Code} label="Payload as text">${payload.text || " "}</${Code}>`}
  ${payload.hex ? html`<h3 class="minor">As bytes</h3><${Code} label="Payload as bytes">${payload.hex}</${Code}>` : html`<p class="muted">It has no value.</p>`}
  ${payload.cut && html`<p class="muted">Only its beginning; it has ${bytes(size)}.</p>`}`;

const headersOf = (headers) => headers.map(([name, value]) => `${name}: ${value ?? ""}`).join("\n");

const Step = ({ title, where, children }) => html`<li class="step"><h3>${title} ${where && html`<code>${where}</code>`}</h3>${children}</li>`;

const tensorText = (tensor) => `[${tensor.shape.join(", ")}]  ${tensor.values.map((value) =>
  (typeof value === "number" ? Number(value.toPrecision(6)) : JSON.stringify(value))).join("  ")}${tensor.cut ? "  …" : ""}`;

const TracedResult = ({ trace }) => {
  const { record, metadata, model } = trace;
  const name = metadata.modelName === null ? "no model" : `${metadata.modelName}/${metadata.modelVersion ?? "?"}`;
  return html`<ol class="steps">
    <${Step} title="Record" where=${record.where}>
      ${record.missing ? html`<p class="muted">${record.missing}</p>` : html`<${Facts} facts=${[["Written", preciseMoment(record.at)], ["Key", record.key], ["Size", bytes(record.size)]]} />`}
      ${record.headers?.length > 0 && html`<h4>Headers</h4><${Code} label="Headers">${headersOf(record.headers)}</${Code}>`}
      <h4>Fields</h4><${Code} label="Fields of the record">${trace.fields}</${Code}>
    </${Step}>
    <${Step} title="Route">
      ${metadata.routeOffset === null || metadata.routeOffset === undefined ? html`<p>The data type has no route: the live version answers.</p>`
        : html`<${Facts} facts=${[["Arm", metadata.arm], ["Role", metadata.role], ["State of the route", `offset ${metadata.routeOffset} of the models topic`]]} />`}
    </${Step}>
    <${Step} title="Model" where=${name}>
      <${Facts} facts=${[["Type", metadata.modelType], ["Data type", model?.data_type], ["Description", model?.description],
        ["Loaded from", metadata.modelSourceLocation], ["SHA-256", metadata.digest], ["Descriptor", metadata.descriptorOffset === null ? null : `offset ${metadata.descriptorOffset} of the models topic`],
        ["Published", model ? preciseMoment(model.published_at) : null], ["Signature", model?.signature],
        ["Inputs", model && Object.entries(model.inputs).map(([input, fields]) => `${input} = ${fields.join(", ")}`).join("; ")]]} />
    </${Step}>
    <${Step} title="Call">
      <${Facts} facts=${[["Began", preciseMoment(metadata.startTime / 1000)], ["Took", milliseconds(metadata.duration / 1000)], ["Records in the batch", metadata.batchSize]]} />
      ${metadata.steps && html`<h4>Steps of the graph</h4><${Code} label="Steps">${metadata.steps.map((step) =>
        `${step.name}  ${step.modelName ?? "-"}${step.modelVersion === null ? "" : `/${step.modelVersion}`}  ${milliseconds(step.duration / 1000)}  ${step.errors ?? ""}`).join("\n")}</${Code}>`}
    </${Step}>
    <${Step} title="Result" where=${trace.where}>
      <${Facts} facts=${[["Written", preciseMoment(trace.at)], ["After the record", record.at ? milliseconds(trace.at - record.at) : null], ["Key", trace.key]]} />
      ${metadata.errors !== null && html`<p class="bad-text">${metadata.errors}</p>`}
      ${Object.entries(trace.outputs).map(([output, tensor]) => html`<div key=${output}><h4>${output}</h4><${Code} label=${`Output ${output}`}>${tensorText(tensor)}</${Code}></div>`)}
    </${Step}>
  </ol>`;
};

export const TraceDialog = ({ partition, offset, close }) => html`<${Dialog} title="From record to model" close=${close}>
  <${Loaded} url=${`/api/results/${partition}/${offset}`}>${(trace) => html`<${TracedResult} trace=${trace} />`}</${Loaded}>
</${Dialog}>`;

export const LetterDialog = ({ identity, close }) => html`<${Dialog} title="Dead letter" close=${close}>
  <${Loaded} url=${`/api/dead-letters/${encodeURIComponent(identity)}`}>${(letter) => html`
    <p class="reason">${letter.reason}</p>
    <${Facts} facts=${[["Record", letter.record], ["Written", preciseMoment(letter.timestamp)], ["Rejected", preciseMoment(letter.at)],
      ["Key", letter.key], ["Size", bytes(letter.size)], ["Replayed", letter.replayed ? "yes" : null]]} />
    ${letter.headers.length > 0 && html`<h3 class="minor">Headers</h3><${Code} label="Headers">${headersOf(letter.headers)}</${Code}>`}
    <${Payload} payload=${letter.payload} size=${letter.size} />`}</${Loaded}>
</${Dialog}>`;

// What a form does when it is sent: it shows that it works, then what was done or why not.
const useSending = (send) => {
  const [state, setState] = useState({});
  const submit = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try { setState({ done: await send(new FormData(event.target)) }); } catch (error) { setState({ error: error.message }); }
  };
  return [state, submit];
};

const Outcome = ({ state }) => html`<div aria-live="polite">
  ${state.busy && html`<p class="muted">Working …</p>`}
  ${state.error && html`<p class="bad-text outcome">${state.error}</p>`}
  ${state.done && html`<p class="good-text outcome">${state.done}</p>`}
</div>`;

export const ActionDialog = ({ title, text, verb, action, request, close }) => {
  const [state, submit] = useSending(() => ask(`/api/actions/${action}`, request).then((answer) => answer.done));
  return html`<${Dialog} title=${title} close=${close} narrow=${true}><form onSubmit=${submit}>
    <p>${text}</p><${Outcome} state=${state} />
    ${!state.done && html`<p class="buttons"><button class="primary" disabled=${state.busy}>${verb}</button></p>`}
  </form></${Dialog}>`;
};

export const TokenDialog = ({ close, unlocked }) => {
  const [state, submit] = useSending(async (form) => {
    await signIn(form.get("token"));
    unlocked();
    close();
  });
  return html`<${Dialog} title="Unlock actions" close=${close} narrow=${true}><form onSubmit=${submit}>
    <p>With the token of this dashboard you can publish, promote and roll back models. It is kept until you close this tab.</p>
    <label>Token <input name="token" type="password" autocomplete="off" required /></label>
    <${Outcome} state=${state} /><p class="buttons"><button class="primary" disabled=${state.busy}>Unlock</button></p>
  </form></${Dialog}>`;
};

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

export const PublishDialog = ({ close }) => {
  const [state, submit] = useSending((form) => ask("/api/actions/publish", {
    ...Object.fromEntries(["name", "type", "location", "data_type", "signature", "description"].map((name) => [name, form.get(name).trim()])),
    input: lines(form.get("input")), live: form.get("live") === "on",
  }).then((answer) => answer.done));
  return html`<${Dialog} title="Publish a model" close=${close} narrow=${true}><form class="publish" onSubmit=${submit}>
    <p class="muted">The model is loaded and checked first, which may take a while.</p>
    <label>Name <input name="name" required /></label>
    <label>Type <select name="type">${currentSession().modelTypes.map((type) => html`<option key=${type}>${type}</option>`)}</select></label>
    <label>Location <input name="location" required placeholder="gs://models/wine/3" /></label>
    <label>Inputs, one a line <textarea name="input" rows="3" placeholder="inputs=alcohol,density,pH"></textarea></label>
    <label>Signature <input name="signature" /></label>
    <label>Data type <input name="data_type" placeholder="the model's name" /></label>
    <label>Description <input name="description" /></label>
    <label class="check"><input name="live" type="checkbox" /> Make it the live version</label>
    <${Outcome} state=${state} />
    ${!state.done && html`<p class="buttons"><button class="primary" disabled=${state.busy}>Publish</button></p>`}
  </form></${Dialog}>`;
};
