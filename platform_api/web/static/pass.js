// Renews the QR code before it ends, counts down, and says what to do without a network.
"use strict";
(() => {
  const form = document.getElementById("pass");
  if (!form) return;
  const EARLY_S = 6, RETRY_MS = 3000;
  const code = document.getElementById("code");
  const offline = document.getElementById("pass-offline");
  const picker = document.getElementById("branch");
  picker?.form.querySelector("button")?.setAttribute("hidden", "");
  picker?.addEventListener("change", () => picker.form.submit());

  let ends = 0, next = 0, busy = false;
  const take = () => {
    const shown = code.querySelector("[data-seconds]");
    ends = shown ? performance.now() + 1000 * Number(shown.dataset.seconds) : 0;
    next = ends ? ends - 1000 * EARLY_S : Infinity;
  };
  const renew = async () => {
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { "HX-Request": "true" } });
      const elsewhere = answer.headers.get("HX-Redirect");
      if (elsewhere) { location.assign(elsewhere); return; }
      if (answer.status >= 500) throw new Error("away");
      const text = await answer.text();
      const part = new DOMParser().parseFromString(text, "text/html");
      code.replaceChildren(...[...part.body.childNodes].map((node) => document.importNode(node, true)));
      take();
      offline.hidden = true;
    } catch {
      next = performance.now() + RETRY_MS;
      offline.hidden = false;
    } finally {
      busy = false;
      for (const button of code.querySelectorAll("button")) { button.disabled = false; button.removeAttribute("aria-busy"); }
    }
  };
  const tick = () => {
    const left = Math.max(0, Math.ceil((ends - performance.now()) / 1000));
    const number = document.getElementById("left"), bar = document.getElementById("ends");
    if (number) { number.textContent = left; bar.value = left; }
    code.querySelector(".code")?.classList.toggle("over", ends > 0 && left === 0);
    if (!document.hidden && performance.now() >= next) renew();
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); event.stopImmediatePropagation(); renew(); });
  document.addEventListener("visibilitychange", () => { tick(); awake(); });
  addEventListener("online", () => { next = 0; tick(); });
  // The screen stays on while the code is shown, where the browser lets it.
  const awake = () => { if (!document.hidden) navigator.wakeLock?.request("screen").catch(() => { /* not allowed here */ }); };
  take(); awake();
  setInterval(tick, 500);
})();
