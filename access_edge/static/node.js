// The gate's own computer, asked over the same address the page came from.
"use strict";

export class Away extends Error {}
export class NotSetUp extends Error {}
export class Elsewhere extends Error {}
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail_en || String(status));
    this.status = status;
    this.problem = problem;
  }
}

const HERE = location.pathname.replace(/[^/]*$/, "");
const PATIENCE_MS = 8000;
// A film is some twenty looks; given up, it would be judged all the same and the next one refused meanwhile.
const FILM_PATIENCE_MS = 20000;
// A reload goes on as the same page; a second page of this gate is told so.
const PAGE = sessionStorage.getItem("kiosk-page") || crypto.randomUUID();
sessionStorage.setItem("kiosk-page", PAGE);

async function ask(method, path, body, headers = {}, patience = PATIENCE_MS) {
  let answer;
  try {
    answer = await fetch(HERE + path, {
      method, body, cache: "no-store", credentials: "same-origin", redirect: "error",
      headers: { "X-Kiosk-Page": PAGE, ...headers }, signal: AbortSignal.timeout(patience),
    });
  } catch {
    throw new Away();
  }
  if (answer.status === 204) return null;
  // An answer that was cut off is none.
  if (answer.ok) return answer.json().catch(() => { throw new Away(); });
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new NotSetUp(problem.detail || "");
  if (answer.status === 409 && problem.code === "kiosk_elsewhere") throw new Elsewhere();
  if (answer.status >= 500) throw new Away();
  throw new Refused(answer.status, problem);
}

export const state = () => ask("GET", "state");
export const look = (frame) => ask("POST", "look", frame, { "Content-Type": "image/jpeg" });
export const challenge = () => ask("POST", "challenge");
export const leave = () => ask("POST", "exit");
export const setUp = (key) => ask("POST", "session", JSON.stringify({ key }), { "Content-Type": "application/json" });

export function film(challengeId, frames) {
  const form = new FormData();
  frames.forEach((frame, index) => form.append("frame", frame, `${index}.jpg`));
  return ask("POST", `film/${encodeURIComponent(challengeId)}`, form, {}, FILM_PATIENCE_MS);
}
