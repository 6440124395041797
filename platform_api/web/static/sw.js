// Shows a page that says what to do when there is no network, keeps files of this release, and shows push messages.
"use strict";
const RELEASE = "{{release}}";
const KEPT = ["{{kept}}"];

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
  // Pages are never kept: they show what is now, to whoever is signed in now.
  if (request.mode === "navigate" && request.method === "GET") {
    event.respondWith(fetch(request).catch(() => caches.match(KEPT[0])));
  } else if (request.method === "GET" && new URL(request.url).pathname.startsWith("/app/static/")) {
    event.respondWith(caches.match(request).then((found) => found || fetch(request)));
  }
});
