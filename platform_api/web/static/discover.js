// Finding branches: suggestions, and where somebody is, which is asked only when they press for it.
"use strict";
(() => {
  const finder = document.getElementById("finder");
  if (!finder) return;
  const { q, lat, lon } = finder.elements;
  const near = document.getElementById("near");
  const told = document.getElementById("near-told");
  const KEPT = "near";
  const again = () => window.htmx.trigger(finder, "submit");
  const tell = (what) => { told.hidden = !what; told.textContent = what ? told.dataset[what] : ""; };

  document.addEventListener("click", (event) => {
    const chosen = event.target.closest("a[data-suggested]");
    if (!chosen || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    q.value = chosen.dataset.suggested;
    q.focus();
    again();
  });

  const place = (where) => {
    // A hundred metres are near enough.
    lat.value = where ? where.lat.toFixed(3) : "";
    lon.value = where ? where.lon.toFixed(3) : "";
    near.textContent = where ? near.dataset.far : near.dataset.near;
    near.setAttribute("aria-pressed", String(Boolean(where)));
    try { if (where) sessionStorage.setItem(KEPT, JSON.stringify(where)); else sessionStorage.removeItem(KEPT); } catch { /* storage is full or off */ }
  };
  const failed = (problem) => tell(problem && problem.code === 1 ? "denied" : "failed");
  const found = ({ coords }) => { place({ lat: coords.latitude, lon: coords.longitude }); tell("known"); again(); };
  near.hidden = false;
  near.addEventListener("click", () => {
    if (lat.value) { place(null); tell(""); again(); return; }
    if (!navigator.geolocation) { failed(); return; }
    tell("asking");
    navigator.geolocation.getCurrentPosition(found, failed, { timeout: 10000, maximumAge: 300000 });
  });
  let kept = null;
  try { kept = JSON.parse(sessionStorage.getItem(KEPT) || "null"); } catch { /* not ours */ }
  if (kept && !lat.value) { place(kept); tell("known"); addEventListener("load", again); } else if (lat.value) { place({ lat: +lat.value, lon: +lon.value }); }
})();
