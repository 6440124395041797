// Push messages on this device, and the app on its home screen. Every state has its words in the page; one is shown.
"use strict";
(() => {
  const part = document.getElementById("push");
  const install = document.getElementById("install");
  const ios = /iP(hone|ad|od)/.test(navigator.userAgent) || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1);
  const installed = matchMedia("(display-mode: standalone)").matches || navigator.standalone === true;

  const show = (state, words = "") => {
    for (const each of part.querySelectorAll("[data-push-state]")) each.hidden = each.dataset.pushState !== state;
    part.querySelector("[data-push-said]").textContent = words;
  };
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
  const same = (one, other) => one && new Uint8Array(one).join() === other.join();
  const answered = async (asked) => {
    let answer;
    try { answer = await asked; } catch { throw { code: "away" }; }
    if (answer.redirected || answer.status === 401) throw { code: "ended" };
    const said = answer.status === 204 ? {} : await answer.json().catch(() => ({}));
    if (!answer.ok) throw { code: said.code, said: said.said };
    return said;
  };
  const post = (subscription) => answered(fetch("/app/push/subscription", {
    method: "POST", headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() },
    body: JSON.stringify({ subscription, member: document.body.dataset.member, name: navigator.userAgentData?.platform?.slice(0, 60) || null }),
  }));
  const failed = (error) => {
    const known = { webpush_off: "absent", ended: "ended", away: "away", push_service_unknown: "unreachable" };
    show(known[error.code] || "failed", error.said || "");
  };
  const registered = () => navigator.serviceWorker.register("/app/sw.js", { scope: "/app/" }).then(() => navigator.serviceWorker.ready);

  let key = null;
  const look = async () => {
    if (!("serviceWorker" in navigator && "PushManager" in window && "Notification" in window)) { show(ios && !installed ? "ios" : "unsupported"); return; }
    key = bytes((await answered(fetch("/app/push/key"))).key);
    if (Notification.permission !== "granted") { show(Notification.permission === "denied" ? "denied" : "off"); return; }
    const found = await (await registered()).pushManager.getSubscription();
    if (!found || !same(found.options.applicationServerKey, key)) { show("off"); return; }
    await post(found);
    show("on");
  };

  // Only upon a tap: browsers ask once, and who is asked out of the blue says no.
  const turnOn = async () => {
    if (await Notification.requestPermission() !== "granted") { show(Notification.permission === "denied" ? "denied" : "off"); return; }
    const { pushManager } = await registered();
    const before = await pushManager.getSubscription();
    // Made for another key of ours: of no use any more.
    if (before && !same(before.options.applicationServerKey, key)) await before.unsubscribe();
    let subscription;
    try { subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key }); } catch (error) {
      show(error.name === "NotAllowedError" ? "denied" : "unreachable"); return;
    }
    try { await post(subscription); } catch (error) { await subscription.unsubscribe().catch(() => {}); throw error; }
    show("on");
  };
  const turnOff = async () => {
    await answered(fetch("/app/push/subscription", { method: "DELETE" }));
    await (await (await registered()).pushManager.getSubscription())?.unsubscribe();
    show("off");
  };
  const acts = { on: turnOn, off: turnOff, again: look };
  part?.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-push]");
    if (!button || button.disabled) return;
    button.disabled = true; button.setAttribute("aria-busy", "true");
    try { await acts[button.dataset.push](); } catch (error) { failed(error); }
    button.disabled = false; button.removeAttribute("aria-busy");
  });
  if (part) { show("checking"); look().catch(failed); }

  // On the home screen: the browser offers it by an event, an iPhone by its own menu.
  if (install && !installed) {
    let offer = null;
    addEventListener("beforeinstallprompt", (event) => { event.preventDefault(); offer = event; install.hidden = install.querySelector("button").hidden = false; });
    addEventListener("appinstalled", () => { install.hidden = true; });
    install.querySelector("button").addEventListener("click", async () => { await offer?.prompt(); offer = null; install.hidden = true; });
    if (ios) { install.hidden = install.querySelector("[data-ios]").hidden = false; }
  }
})();
