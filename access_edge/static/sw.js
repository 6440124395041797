// Keeps the page and its files, so that a reload shows them while the gate's computer starts anew. Never an answer of the node.
"use strict";
const RELEASE = `kiosk-${"RELEASE"}`;
const KEPT = ["KEPT"];
const PATIENCE_MS = 4000;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(RELEASE).then((cache) => cache.addAll(KEPT)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(caches.keys()
    .then((names) => Promise.all(names.filter((name) => name.startsWith("kiosk-") && name !== RELEASE).map((name) => caches.delete(name))))
    .then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET") return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) })
      .then((answer) => (answer.status < 500 ? answer : Promise.reject(new Error("away"))))
      .catch(() => caches.match(KEPT[0])));
  } else if (KEPT.includes(new URL(request.url).pathname)) {
    event.respondWith(caches.match(request).then((found) => found || fetch(request)));
  }
});
