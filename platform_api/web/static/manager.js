// A manager's pages: the branch chooser, panels that open by a key, parts that hold still while somebody acts in them.
"use strict";
(() => {
  for (const form of document.querySelectorAll("[data-chooser]")) {
    form.querySelector("button").hidden = true;
    form.querySelector("select").addEventListener("change", () => form.requestSubmit());
  }

  // Keys of a panel that is closed press nothing; one that opens is ready for them.
  const settle = (panel) => { const fields = panel.querySelector("fieldset"); if (fields) fields.disabled = !panel.open; };
  const all = () => { for (const panel of document.querySelectorAll("details.panel")) settle(panel); };
  // At once, not when `toggle` comes: the next key may be faster.
  document.addEventListener("click", (event) => {
    const panel = event.target.closest?.("details.panel > summary")?.parentElement;
    if (panel) for (const each of document.querySelectorAll("details.panel")) each.querySelector("fieldset").disabled = each !== panel || panel.open;
  });
  document.addEventListener("toggle", (event) => {
    const panel = event.target;
    if (!panel.matches?.("details.panel")) return;
    settle(panel);
    if (panel.open) panel.querySelector(".presets button, fieldset input:not([type=hidden])")?.focus();
  }, true);
  document.addEventListener("htmx:load", all);
  all();
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const panel = document.querySelector("details.panel[open]");
    if (panel) { panel.open = false; panel.querySelector("summary").focus(); }
  });

  // What is asked for anew by itself waits while somebody has the focus or a panel open in it.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const part = event.target;
    if (part.matches?.("[data-steady]") && (part.contains(document.activeElement) || part.querySelector("details[open]"))) event.preventDefault();
  });
})();
