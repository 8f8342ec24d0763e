// How numbers, times and sizes are written. `null` and `undefined` are a dash.
const DASH = "–";
const compact = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const whole = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const moment = new Intl.DateTimeFormat("en-GB", {
  day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

const known = (value) => value !== null && value !== undefined && Number.isFinite(value);

export const count = (value) => (known(value) ? whole.format(Math.round(value)) : DASH);
export const rate = (value) => (known(value) ? (value >= 10_000 ? compact.format(value) : whole.format(Math.round(value))) : DASH);
export const percent = (share) => {
  if (!known(share)) return DASH;
  const value = 100 * share;
  return `${value === 0 || value >= 10 ? Math.round(value) : value < 0.01 ? "< 0.01" : Number(value.toPrecision(2))} %`;
};
export const milliseconds = (value) => {
  if (!known(value)) return DASH;
  if (value >= 10_000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 10 ? `${Math.round(value)} ms` : `${Number(value.toPrecision(2))} ms`;
};
export const bytes = (value) => {
  if (!known(value)) return DASH;
  if (value < 1000) return `${value} B`;
  return value < 1e6 ? `${(value / 1e3).toPrecision(3)} kB` : value < 1e9 ? `${(value / 1e6).toPrecision(3)} MB` : `${(value / 1e9).toPrecision(3)} GB`;
};
export const timeOf = (ms) => (ms ? clock.format(ms) : DASH);
export const momentOf = (ms) => {
  if (!ms) return DASH;
  return Math.abs(Date.now() - ms) < 12 * 3600e3 ? clock.format(ms) : moment.format(ms);
};
export const preciseMoment = (ms) => `${moment.format(ms)}.${String(Math.floor(ms) % 1000).padStart(3, "0")}`;
export const plural = (number, word) => `${whole.format(number)} ${word}${number === 1 ? "" : "s"}`;
export const axisNumber = (value) => compact.format(value);
