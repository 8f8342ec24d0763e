// Preact and htm come as classic scripts: this module is where the others import them from.
const { preact, preactHooks, htm } = globalThis;

export const { render, Fragment } = preact;
export const { useEffect, useLayoutEffect, useRef, useState } = preactHooks;
export const html = htm.bind(preact.h);
