// Work that is on its way: kept in the browser until the platform has it, for the member who took the photos alone.
// A task keeps its idempotency key: sent twice, by two tabs or after a lost answer, it is one task.
"use strict";
const Outbox = (() => {
  const member = document.body.dataset.member || "";
  const ko = document.documentElement.lang === "ko";
  const say = (korean, english) => (ko ? korean : english);
  const DAY_MS = 86_400_000;
  const SEND_MS = 120_000;

  // Two kinds of records: a draft (photos taken, not sent; one for a form) and tasks that wait to be sent.
  let opened = null;
  const memory = new Map(); // where the browser keeps nothing for us: as long as the page lives
  const database = () => opened ??= new Promise((resolve) => {
    let asked;
    try { asked = indexedDB.open("smartfit-work", 1); } catch { resolve(null); return; }
    asked.onupgradeneeded = () => asked.result.createObjectStore("records", { keyPath: "id" });
    asked.onsuccess = () => { asked.result.onversionchange = () => asked.result.close(); resolve(asked.result); };
    asked.onerror = asked.onblocked = () => resolve(null);
  });
  const done = (asked) => new Promise((resolve, reject) => { asked.onsuccess = () => resolve(asked.result); asked.onerror = () => reject(asked.error); });
  const store = async (mode) => (await database())?.transaction("records", mode).objectStore("records") ?? null;
  const put = async (record) => {
    try { const records = await store("readwrite"); if (records) { await done(records.put(record)); return; } } catch { /* full, or off */ }
    memory.set(record.id, record);
  };
  const drop = async (id) => { memory.delete(id); try { const records = await store("readwrite"); if (records) await done(records.delete(id)); } catch { /* gone with the page */ } };
  const all = async () => { let kept = []; try { const records = await store("readonly"); if (records) kept = await done(records.getAll()); } catch { /* none */ } return [...kept, ...memory.values()]; };
  const mine = async (kind) => (await all()).filter((record) => record.member === member && record.kind === kind).sort((a, b) => a.at - b.at);
  const find = async (id) => (await all()).find((record) => record.id === id && record.member === member);

  const draftId = (name) => `draft:${member}:${name}`;
  const draft = async (name) => (await find(draftId(name))) ?? { photos: [], note: "" };
  const keepDraft = async (name, photos, note = "") => {
    await (photos.length ? put({ id: draftId(name), kind: "draft", member, at: Date.now(), photos, note }) : drop(draftId(name)));
    count();
  };
  // One that was refused goes back to the form, where it can be mended.
  const mend = async (task) => {
    const { branch_id: branch, kind, note, redo_of: redo } = task.fields, name = redo || "new";
    if ((await draft(name)).photos.length) { alert(say("지금 찍은 사진을 먼저 보내거나 지우세요.", "Send or remove the photos you are taking first.")); return; }
    await keepDraft(name, task.photos, note);
    await drop(task.id);
    location.href = `/app/work?${new URLSearchParams(redo ? { redo_of: redo } : { branch, kind })}`;
  };

  // Sending. Answers: done (with the task's page), refused (with why), later, ended (the session).
  const ask = async (task) => {
    const body = new FormData();
    for (const [name, value] of Object.entries(task.fields)) if (value) body.append(name, value);
    body.append("_key", task.id);
    body.append("_member", task.member);
    task.photos.forEach((photo, index) => body.append("photos", photo, `${index + 1}.jpg`));
    let answer;
    try { answer = await fetch("/app/work", { method: "POST", body, headers: { "HX-Request": "true" }, redirect: "error", signal: AbortSignal.timeout(SEND_MS) }); }
    catch { return { what: "later", after: 5 }; }
    if (answer.ok) return { what: "done", ...(await answer.json()) };
    if (answer.status === 401) return { what: "ended", url: answer.headers.get("HX-Redirect") };
    const code = answer.headers.get("X-Problem") || "";
    const passing = answer.status >= 500 || answer.status === 408 || (answer.status === 429 && !code.startsWith("daily_limit"));
    if (passing) return { what: "later", after: Number(answer.headers.get("Retry-After")) || 5 };
    if (answer.status === 413) return { what: "refused", html: `<div class="problem" role="alert"><p>${say("사진이 모두 합쳐 너무 큽니다. 사진 수를 줄여 다시 보내세요.", "The photos are too large in all; send fewer.")}</p></div>` };
    return { what: "refused", html: await answer.text() };
  };
  const alone = (work) => (navigator.locks ? navigator.locks.request("smartfit-work", work) : work());
  const send = (id) => alone(async () => {
    const task = await find(id);
    if (!task) return { what: "gone" }; // another tab has sent it
    const said = await ask(task);
    if (said.what === "done") await drop(id);
    if (said.what === "refused") await put({ ...task, refused: said.html });
    return said;
  });
  const add = async (fields, photos, place) => {
    const task = { id: crypto.randomUUID(), kind: "task", member, at: Date.now(), fields, photos, place };
    await put(task);
    return task;
  };

  // What waits is told on each of the helper's pages, and sent as soon as it can be.
  const box = document.getElementById("outbox");
  const sent = document.getElementById("sent");
  let timer = 0, pause = 5, busy = false, held = 0;
  const count = async () => { held = (await mine("task")).length + (await mine("draft")).length; };
  const button = (words, act, about) => {
    const made = document.createElement("button");
    made.type = "button"; made.className = "quiet"; made.textContent = words; made.setAttribute("aria-label", `${words}: ${about}`);
    made.addEventListener("click", act);
    return made;
  };
  const show = async () => {
    const tasks = await mine("task");
    count();
    if (!box) return;
    box.hidden = tasks.length === 0;
    box.replaceChildren();
    if (!tasks.length) return;
    const head = document.createElement("p");
    head.textContent = tasks.every((task) => task.refused)
      ? say("받지 않은 작업이 있습니다. 이유를 보고 고치거나 버리세요.", "A task was refused; see why, then mend or discard it.")
      : navigator.onLine
      ? say(`아직 보내지 못한 작업 ${tasks.length}건. 저절로 다시 보냅니다.`, `${tasks.length} task(s) not sent yet; they are tried again by themselves.`)
      : say(`보내기를 기다리는 작업 ${tasks.length}건. 네트워크가 돌아오면 저절로 보냅니다. 로그아웃하면 지워집니다.`, `${tasks.length} task(s) wait; they are sent by themselves once you are connected. Logging out deletes them.`);
    const list = document.createElement("ul");
    for (const task of tasks) {
      const row = document.createElement("li");
      const words = document.createElement("span");
      words.textContent = `${task.place} · ${say(`사진 ${task.photos.length}장`, `${task.photos.length} photo(s)`)}`;
      row.append(words);
      if (task.refused) {
        const why = document.createElement("div");
        why.innerHTML = task.refused;
        row.append(why, button(say("고치기", "Mend"), () => mend(task), words.textContent));
      }
      row.append(button(say("버리기", "Discard"), async () => {
        if (confirm(say("이 작업의 사진을 버릴까요? 되돌릴 수 없습니다.", "Discard the photos of this task? This cannot be undone."))) { await drop(task.id); show(); }
      }, words.textContent));
      list.append(row);
    }
    box.append(head, list);
  };
  const flush = async () => {
    if (busy || !member || !navigator.onLine) { show(); return; }
    busy = true; clearTimeout(timer);
    try {
      for (const task of await mine("task")) {
        if (task.refused) continue;
        const said = await send(task.id);
        if (said.what === "done" && sent) {
          const link = document.createElement("a");
          link.href = said.url; link.textContent = say("판정 보기", "See the verdict");
          sent.replaceChildren(say("기다리던 작업을 보냈습니다. ", "What waited has been sent. "), link);
          sent.hidden = false; pause = 5;
        }
        if (said.what === "ended") { location.href = said.url || "/app/login?ended=1"; return; }
        if (said.what === "later") { timer = setTimeout(flush, 1000 * Math.max(said.after, pause)); pause = Math.min(60, pause * 2); break; }
      }
    } finally { busy = false; show(); }
  };
  addEventListener("online", flush);
  addEventListener("offline", show);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) flush(); });

  // Signing out deletes what waits (the answer clears the storage, too): not without a word.
  document.querySelector('form[action="/app/logout"]')?.addEventListener("submit", (event) => {
    if (held && !confirm(say("아직 보내지 않은 사진이 있습니다. 로그아웃하면 지워집니다. 로그아웃할까요?", "Photos have not been sent yet. Logging out deletes them. Log out?"))) {
      event.preventDefault();
      setTimeout(() => { for (const each of event.target.querySelectorAll("button")) { each.disabled = false; each.removeAttribute("aria-busy"); } }, 0);
      return;
    }
    memory.clear();
    indexedDB.deleteDatabase("smartfit-work");
  });
  // What somebody else left on a shared phone does not stay for ever.
  all().then((records) => { for (const record of records) if (record.member !== member && record.at < Date.now() - DAY_MS) drop(record.id); });
  if (member) flush();
  return { add, send, drop, draft, keepDraft, show, say };
})();
