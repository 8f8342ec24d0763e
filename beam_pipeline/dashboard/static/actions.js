// Requests to the server. The token is kept for this tab only, and sent in a header, which no other page can do.
const KEY = "beam-serving-token";
let session = { token: null, modelTypes: [] };

export const currentSession = () => session;

export const ask = async (url, body, token = session.token) => {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(url, body === undefined ? { headers } : {
    method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const value = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(value.error ?? `the server answered with status ${answer.status}`);
  return value;
};

export const signIn = async (token) => {
  const { model_types: modelTypes } = await ask("/api/session", {}, token);
  session = { token, modelTypes };
  try { sessionStorage.setItem(KEY, token); } catch { /* it has to be entered again after a reload */ }
};

export const signOut = () => {
  session = { token: null, modelTypes: [] };
  try { sessionStorage.removeItem(KEY); } catch { /* it was not kept */ }
};

// Whether a token of this tab still holds.
export const resume = async () => {
  let token = null;
  try { token = sessionStorage.getItem(KEY); } catch { /* nothing is kept */ }
  if (!token) return false;
  try { await signIn(token); return true; } catch { signOut(); return false; }
};
