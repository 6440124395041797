// The gate's screen: shows the camera, sends looks to the node, shows what it says, and goes back to idle.
"use strict";
import { Camera } from "./camera.js";
import * as node from "./node.js";

const STATE_MS = 4000;
const AGAIN_MS = 2000;
const DAY_MS = 24 * 3600 * 1000;
const READ_MS = 900;
// A slow screen takes fewer frames, not longer: who turned the head is not kept waiting.
const FILM = { frames: 22, everyMs: 190, longestMs: 6000, side: 640 };
const VERDICTS = {
  granted: ["문이 열렸습니다", "Open"], denied: ["들어갈 수 없습니다", "No entry"], retry: ["다시 한 번", "Once more"],
};

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });
const camera = new Camera($("camera"));
const began = Date.now();
// All that the screen depends on; `render` makes the screen of it.
const now = { setup: false, away: 0, elsewhere: false, state: null, told: null, hints: 0, turn: null, answer: null };

function say(ko, en) {
  if ($("words-ko").textContent !== ko) {
    $("words-ko").textContent = ko;
    $("words-en").textContent = en;
  }
}

function trouble() {
  if (now.away > 1) return "node-away";
  if (now.elsewhere) return "elsewhere";
  return camera.trouble;
}

function render() {
  const { body } = document;
  const paused = now.told && now.told.stage === "paused" ? now.told : null;
  const emergency = (now.state && now.state.mode === "emergency_open") || (paused && paused.reason === "emergency_open");
  const wrong = now.setup || emergency ? "" : trouble();
  const notice = emergency || paused;
  $("setup").hidden = !now.setup;
  $("trouble").hidden = !wrong;
  for (const part of $("trouble").querySelectorAll("[data-trouble]")) part.hidden = part.dataset.trouble !== wrong;
  $("allow").hidden = wrong !== "camera-refused";
  $("exit").hidden = now.setup || now.away > 1 || !(now.state && now.state.exit);
  $("offline").hidden = !(now.state && now.state.offline);
  $("gate").textContent = now.state ? now.state.name : "";
  body.classList.toggle("open", Boolean(emergency));
  body.classList.toggle("closed", Boolean(!wrong && paused && !emergency));
  showTurn();
  if (now.setup) body.dataset.screen = "setup";
  else if (wrong) body.dataset.screen = "trouble";
  else if (!now.state) body.dataset.screen = "starting";
  else if (notice) show("notice", (paused || now.state).message, (paused || now.state).message_en);
  else if (now.turn) show("challenge", now.turn.message, now.turn.message_en);
  else if (now.told && now.told.message && ["hint", "steady"].includes(now.told.stage)) {
    // A hint that comes and goes is not read, nor read out.
    if (now.told.stage === "steady" || now.hints > 1) show(now.told.stage, now.told.message, now.told.message_en);
  } else if (now.told && now.told.stage === "no_faces" && now.told.message) show("idle", now.told.message, now.told.message_en);
  else show("idle", now.state.message, now.state.message_en);
}

function show(screen, ko, en) {
  document.body.dataset.screen = screen;
  say(ko, en);
}

function showTurn() {
  $("turn").hidden = !now.turn;
  // The preview is a mirror: the person's left is left on the screen.
  if (now.turn) $("turn").classList.toggle("left", now.turn.side === "left");
}

function showAnswer(told) {
  clearTimeout(now.answer);
  const box = $("answer");
  box.hidden = false;
  box.className = `answer ${told.decision}`;
  const leaving = told.reason === "exit";
  [$("verdict-ko").textContent, $("verdict-en").textContent] = leaving ? ["나가세요", "Go ahead"] : VERDICTS[told.decision];
  $("answer-ko").textContent = told.message;
  $("answer-en").textContent = told.message_en;
  now.answer = setTimeout(() => {
    box.hidden = true;
    now.told = null;
    render();
  }, told.show_ms);
}

// Does something at the node; returns undefined and notes what is wrong where it does not come off.
async function attempt(act) {
  try {
    const got = await act();
    now.away = 0;
    now.elsewhere = false;
    return got;
  } catch (error) {
    if (error instanceof node.NotSetUp) now.setup = true;
    else if (error instanceof node.Away) now.away += 1;
    else if (error instanceof node.Elsewhere) now.elsewhere = true;
    else if (!(error instanceof node.Refused)) throw error;
    return undefined;
  } finally {
    render();
  }
}

function take(told) {
  const again = now.told && now.told.stage === told.stage && now.told.reason === told.reason;
  now.hints = again ? now.hints + 1 : 1;
  now.told = told;
  if (told.stage === "answer") showAnswer(told);
  render();
}

async function watch() {
  if (now.setup || document.hidden) return sleep(500);
  if (!camera.ready) return openCamera();
  const frame = await camera.frame();
  const told = frame && await attempt(() => node.look(frame));
  if (!told) return sleep(now.away || now.elsewhere ? AGAIN_MS : 400);
  take(told);
  return told.stage === "challenge" ? turnHead() : sleep(told.next_ms);
}

// For good: nobody is there to reload the page when something unforeseen happened once.
async function forEver(act) {
  for (;;) {
    try {
      await act();
    } catch (error) {
      console.error(error);
      await sleep(AGAIN_MS);
    }
  }
}

async function openCamera() {
  await camera.open();
  render();
  if (camera.ready) return;
  // A refusal is not argued with: the button asks again, or the browser's own switch.
  const refused = camera.trouble === "camera-refused";
  await Promise.race([sleep(refused ? 10000 : AGAIN_MS), change]);
  change = new Promise((resolve) => { changed = resolve; });
}

let changed = () => {};
let change = new Promise((resolve) => { changed = resolve; });

async function turnHead() {
  for (;;) {
    const asked = await attempt(() => node.challenge());
    if (!asked) return;
    now.turn = asked;
    render();
    await sleep(READ_MS);
    const frames = [];
    const until = performance.now() + FILM.longestMs;
    for (let index = 0; index < FILM.frames && camera.ready && performance.now() < until; index += 1) {
      const [frame] = await Promise.all([camera.frame(FILM.side), sleep(FILM.everyMs)]);
      if (frame) frames.push(frame);
    }
    const told = frames.length ? await attempt(() => node.film(asked.challenge_id, frames)) : undefined;
    now.turn = null;
    if (!told) {
      render();
      return;
    }
    if (told.stage !== "challenge") {
      take(told);
      return;
    }
    // What to do better is read before the arrow comes again.
    now.told = { ...told, stage: "hint" };
    now.hints = 2;
    render();
    await sleep(2 * READ_MS);
  }
}

async function keepState() {
  const got = now.setup ? null : await attempt(() => node.state());
  if (got) {
    now.state = got;
    const idle = document.body.dataset.screen === "idle" && $("answer").hidden;
    // A new release, or a day's age: the page starts afresh while nobody looks.
    if (idle && (got.release !== document.body.dataset.release || Date.now() - began > DAY_MS)) location.reload();
    render();
  }
  await sleep(now.away ? AGAIN_MS : STATE_MS);
}

async function setUp(key) {
  $("setup-problem").textContent = "";
  for (;;) {
    try {
      await node.setUp(key);
      now.setup = false;
      now.away = 0;
      $("key").value = "";
      now.state = await node.state().catch(() => null);
      render();
      return;
    } catch (error) {
      if (!(error instanceof node.Away)) {
        now.setup = true;
        $("setup-problem").textContent = error instanceof node.NotSetUp
          ? "이 게이트의 키가 아닙니다. 키를 확인하거나 새 키를 받으세요. Not this gate's key: check it, or have a new one made."
          : `${error.problem ? error.problem.detail : ""} ${error.message}`;
        render();
        $("key").focus();
        return;
      }
      now.away += 1;
      $("setup-problem").textContent = "게이트의 컴퓨터가 응답하지 않습니다. 다시 시도하고 있습니다. The gate's computer does not answer; trying again.";
      render();
      await sleep(AGAIN_MS);
    }
  }
}

async function stayAwake() {
  try {
    if (document.visibilityState === "visible") await navigator.wakeLock.request("screen");
  } catch {
    // Not there, or the battery is low: the tablet's own setting decides.
  }
}

async function start() {
  $("setup").addEventListener("submit", (event) => {
    event.preventDefault();
    setUp($("key").value);
  });
  $("exit").addEventListener("click", async () => {
    const told = await attempt(() => node.leave());
    if (told) showAnswer(told);
  });
  $("allow").addEventListener("click", () => changed());
  document.addEventListener("visibilitychange", stayAwake);
  if (navigator.mediaDevices) navigator.mediaDevices.addEventListener("devicechange", () => changed());
  navigator.permissions?.query({ name: "camera" }).then((permission) => { permission.onchange = () => changed(); }, () => {});
  navigator.serviceWorker?.register("sw.js").catch(() => {});
  stayAwake();
  // Set up by a link: the key is behind the #, which no browser sends, and leaves the address at once.
  const key = location.hash.slice(1);
  if (key) {
    history.replaceState(null, "", location.pathname);
    await setUp(key);
  } else await attempt(async () => { now.state = await node.state(); });
  forEver(watch);
  forEver(keepState);
}

start();
