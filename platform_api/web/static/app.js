// What every page does in the browser: drafts, being offline, one sending of a form, the service worker.
"use strict";
(() => {
  const member = document.body.dataset.member || "";
  const ko = document.documentElement.lang === "ko";

  // Drafts: what is typed into <form data-draft="name"> outlives a session that ends, a reload, a lost network.
  // Kept for this tab and this member alone; passwords, cards and files never.
  const secret = (field) => ["password", "file", "hidden", "submit"].includes(field.type) || "private" in field.dataset;
  const place = (form) => `draft:${form.dataset.draft}`;
  const fields = (form) => [...form.elements].filter((field) => field.name && !secret(field));
  // `sent`: the form was sent and nothing says yet that it arrived, so its draft goes over what the page was served with.
  const read = (form) => { try { return JSON.parse(sessionStorage.getItem(place(form)) || "null"); } catch { return null; } };
  const keep = (form, sent = read(form)?.sent || false) => {
    const values = fields(form).map((f) => [f.name, ["checkbox", "radio"].includes(f.type) ? (f.checked ? f.value : null) : f.value, f.type]);
    try { sessionStorage.setItem(place(form), JSON.stringify({ member, values, sent })); } catch { /* storage is full or off */ }
  };
  const restore = (form) => {
    const kept = read(form);
    if (!kept || (kept.member && kept.member !== member)) return;
    for (const [name, value, type] of kept.values) {
      const same = fields(form).filter((f) => f.name === name);
      for (const field of same) {
        if (["checkbox", "radio"].includes(type)) { if (value !== null && field.value === value) field.checked = true; }
        else if (value !== "" && !field.hasAttribute("aria-invalid") && (kept.sent || field.value === "" || field.tagName === "SELECT")) field.value = value;
      }
    }
  };
  document.addEventListener("input", (event) => { const form = event.target.form; if (form?.dataset.draft) keep(form); });
  for (const form of document.querySelectorAll("form[data-draft]")) restore(form);
  // The page that a form leads to when all went well says which draft is done with.
  for (const done of document.querySelectorAll("[data-draft-done]")) sessionStorage.removeItem(`draft:${done.dataset.draftDone}`);

  // Offline: say so, and do not send into nothing.
  const banner = document.getElementById("offline");
  const told = () => { if (banner) banner.hidden = navigator.onLine; };
  addEventListener("online", told); addEventListener("offline", told); told();
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.draft) keep(form, true);
    if (!navigator.onLine && form.method === "post") {
      event.preventDefault(); event.stopImmediatePropagation();
      told(); banner?.scrollIntoView();
      return;
    }
    // A second tap sends nothing more; coming back by the back button, it may be sent again.
    if (form.method === "post" && !event.defaultPrevented) {
      setTimeout(() => { for (const button of form.querySelectorAll("button")) { button.disabled = true; button.setAttribute("aria-busy", "true"); } }, 0);
    }
  }, true);
  const again = (place) => { for (const button of place.querySelectorAll("button[aria-busy]")) { button.disabled = false; button.removeAttribute("aria-busy"); } };
  addEventListener("pageshow", (event) => {
    if (event.persisted) again(document);
  });
  // A form that stays, since its answer was an error, may be sent once more.
  document.addEventListener("htmx:afterRequest", (event) => { if (event.target.matches?.("form")) again(event.target); });
  // What a page asks by itself, now and then, says nothing where it fails and takes no message away: <... data-quiet>.
  const quiet = (event) => Boolean(event.detail.elt?.closest("[data-quiet]"));
  document.addEventListener("htmx:sendError", (event) => {
    if (quiet(event)) return;
    const problem = document.getElementById("problem");
    if (problem) problem.textContent = ko ? "서버에 연결할 수 없습니다. 네트워크를 확인하고 다시 시도하세요." : "The server cannot be reached. Check the network and try again.";
  });

  // Errors that arrive in place of a part are brought into view; the old one goes with the next try.
  document.addEventListener("htmx:beforeRequest", (event) => { if (quiet(event)) return; const problem = document.getElementById("problem"); if (problem) problem.textContent = ""; });
  document.addEventListener("htmx:afterSwap", (event) => { if (event.target.id === "problem") event.target.scrollIntoView({ block: "nearest" }); });

  // One key for one act: <button data-key="c"> is pressed by that key, unless somebody is typing.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) return;
    const button = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]:not(:disabled)`);
    if (button) { event.preventDefault(); button.click(); }
  });

  if ("serviceWorker" in navigator) navigator.serviceWorker.register("/app/sw.js", { scope: "/app/" }).catch(() => { /* works without */ });
})();
