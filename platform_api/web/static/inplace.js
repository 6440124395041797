// Forms that stay on the page: <form id data-in-place>. What is wrong comes back in place of the form; passwords and cards, which the
// server never sends back, are put in again from what was typed.
"use strict";
(() => {
  const PRIVATE = "input[type=password], input[data-private]";
  const problem = document.getElementById("problem");
  const freed = (form) => { for (const button of form.querySelectorAll("button")) { button.disabled = false; button.removeAttribute("aria-busy"); } };
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    // A download leaves the page as it is.
    if ("download" in form.dataset) setTimeout(() => freed(form), 2000);
    if (!("inPlace" in form.dataset) || event.defaultPrevented) return;
    event.preventDefault();
    problem.textContent = "";
    const typed = [...form.querySelectorAll(PRIVATE)].map((field) => [field.id, field.value]);
    let answer, page;
    try {
      answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      if (answer.redirected) { location.assign(answer.url); return; }
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      document.dispatchEvent(new CustomEvent("htmx:sendError"));
    }
    const again = page?.getElementById(form.id);
    if (again) {
      const shown = document.importNode(again, true);
      form.replaceWith(shown);
      for (const [id, value] of typed) { const field = document.getElementById(id); if (field) field.value = value; }
      (shown.querySelector("[aria-invalid]") || shown.querySelector(".problem"))?.scrollIntoView({ block: "center" });
      shown.querySelector("[aria-invalid]")?.focus();
    } else {
      const said = page?.querySelector("#main .problem");
      if (said) problem.replaceChildren(document.importNode(said, true));
      freed(form);
      problem.scrollIntoView({ block: "center" });
    }
  });
})();
