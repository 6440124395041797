// Shows a page that says what to do when there is no network, keeps files of this release, and shows push messages.
"use strict";
const RELEASE = "{{release}}";
const KEPT = ["{{kept}}"];
const ICON = "{{icon}}";
const BADGE = "{{badge}}";
const KOREAN = (self.navigator.language || "ko").startsWith("ko");

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(RELEASE).then((cache) => cache.addAll(KEPT)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter((name) => name !== RELEASE).map((name) => caches.delete(name))))
    .then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { pathname } = new URL(request.url);
  // Pages are never kept: they show what is now, to whoever is signed in now.
  if (request.mode === "navigate" && request.method === "GET") {
    const answer = fetch(request);
    event.respondWith(answer.catch(() => caches.match(KEPT[0])));
    // Another language was chosen: the page that is kept speaks it from now on.
    if (pathname.startsWith("/app/language/")) event.waitUntil(answer.then(() => caches.open(RELEASE)).then((cache) => cache.add(KEPT[0])).catch(() => { /* it stays as it was */ }));
  } else if (request.method === "GET" && pathname.startsWith("/app/static/")) {
    event.respondWith(caches.match(request).then((found) => found || fetch(request)));
  }
});

// A message: in the member's language as it comes. Every one must be shown, an empty one too.
self.addEventListener("push", (event) => {
  let said = {};
  try { said = event.data?.json() || {}; } catch { /* not one of ours */ }
  event.waitUntil(self.registration.showNotification(said.title || "Smart Fitness", {
    body: said.body || (KOREAN ? "새 알림이 있습니다." : "There is news for you."),
    tag: said.tag, icon: ICON, badge: BADGE, requireInteraction: Boolean(said.urgent), data: { id: said.tag },
  }));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  const id = event.notification.data?.id ? encodeURIComponent(event.notification.data.id) : null;
  event.waitUntil(Promise.all([go(id ? `/app/push/open/${id}` : "/app/notifications"), id ? read(id) : null]));
});

const go = async (path) => {
  const url = new URL(path, self.location.origin).href;
  const open = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = open.find((each) => each.focused) || open[0];
  if (!page) return self.clients.openWindow(url);
  try { await page.focus(); } catch { /* it may be that nobody tapped */ }
  // A page that this worker does not serve cannot be led on.
  try { return await page.navigate(url); } catch { return self.clients.openWindow(url); }
};

const read = (id) => fetch(`/app/notifications/${id}`, { method: "POST", redirect: "manual" }).catch(() => { /* it stays unread */ });

// The browser has a new subscription in the place of the old one, or wants us to make one.
self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil((async () => {
  const options = event.oldSubscription?.options || { userVisibleOnly: true, applicationServerKey: (await (await fetch("/app/push/key")).json()).key };
  const fresh = event.newSubscription || await self.registration.pushManager.subscribe(options);
  await fetch("/app/push/subscription", {
    method: "POST", headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() }, body: JSON.stringify({ subscription: fresh }),
  });
})()));
