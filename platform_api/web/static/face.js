// Guided enrolment: the camera or photo files, each photo checked as it is taken, the good ones sent together.
"use strict";
(() => {
  const form = document.getElementById("enrol");
  if (!form) return;
  const by = (id) => document.getElementById(id);
  const { most, least, side, mostBytes } = form.dataset;
  const MOST = Number(most), LEAST = Number(least), SIDE = Number(side), MOST_BYTES = Number(mostBytes);
  const booth = by("booth"), preview = by("preview"), hint = by("hint"), start = by("start"), shoot = by("shoot");
  const files = by("photos"), list = by("shots"), count = by("count"), send = by("send"), refused = by("refused");
  const steps = [...by("steps").children].map((step) => step.textContent.trim());
  const shots = []; // { blob, good, item }
  let stream = null;

  const same = (name) => form.querySelector(`input[name="${name}"]`)?.value || "";
  const good = () => shots.filter((shot) => shot.good);
  // The first step that no good photo has been taken for.
  const step = () => steps.findIndex((_, number) => !shots.some((shot) => shot.step === number && shot.good !== false));

  const show = () => {
    const number = good().length, waiting = shots.some((shot) => shot.good === null);
    const enough = number >= LEAST;
    count.textContent = shots.length ? (enough ? form.dataset.enough : form.dataset.count).replace("{n}", number) : "";
    send.disabled = !enough || waiting;
    const now = step();
    hint.textContent = now >= 0 && number < MOST ? `${now + 1}/${steps.length} ${steps[now]}` : count.textContent;
    shoot.disabled = waiting || number >= MOST;
    booth.classList.toggle("good", enough);
  };

  const scaled = async (file) => {
    let picture;
    try { picture = await createImageBitmap(file, { imageOrientation: "from-image" }); } catch { return file; }
    const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(picture.width * scale); canvas.height = Math.round(picture.height * scale);
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    picture.close();
    return new Promise((done) => canvas.toBlob((blob) => done(blob || file), "image/jpeg", 0.92));
  };

  const say = (shot, text) => { const said = shot.item.querySelector(".said"); said.textContent = text; };
  const remove = (shot) => {
    shots.splice(shots.indexOf(shot), 1);
    URL.revokeObjectURL(shot.item.querySelector("img").src);
    shot.item.remove();
    show();
  };

  const check = async (shot) => {
    shot.good = null; say(shot, form.dataset.checking); show();
    const sent = new FormData();
    sent.append("photos", shot.blob, "photo.jpg");
    sent.append("_member", same("_member"));
    try {
      const answer = await fetch("/app/face/checks", { method: "POST", body: sent, headers: { "HX-Request": "true" } });
      const elsewhere = answer.headers.get("HX-Redirect");
      if (elsewhere) { location.assign(elsewhere); return; }
      const part = new DOMParser().parseFromString(await answer.text(), "text/html");
      const verdict = part.querySelector(".verdict, .problem");
      shot.good = verdict?.dataset.accepted === "1";
      shot.item.querySelector(".said").replaceChildren(document.importNode(verdict, true));
    } catch {
      shot.good = false;
      say(shot, form.dataset.offline);
    }
    show();
  };

  const add = async (file) => {
    // A new photo takes the place of one that was refused, before it counts as one more.
    const number = Math.max(0, step());
    for (const old of shots.filter((shot) => shot.good === false)) remove(old);
    if (shots.length >= MOST) { count.textContent = form.dataset.tooMany; return; }
    const item = by("shot").content.firstElementChild.cloneNode(true);
    const shot = { blob: null, good: null, step: number, item };
    shots.push(shot); list.append(item);
    item.querySelector("img").alt = `${shots.length}. ${steps[number] || ""}`;
    item.querySelector("button").addEventListener("click", () => remove(shot));
    shot.blob = await scaled(file);
    if (shot.blob.size > MOST_BYTES) { shot.good = false; say(shot, form.dataset.tooLarge); show(); return; }
    item.querySelector("img").src = URL.createObjectURL(shot.blob);
    await check(shot);
  };

  const trouble = (name) => { for (const each of ["refused", "missing", "busy"]) by(`camera-${each}`).hidden = each !== name; };
  start.addEventListener("click", async () => {
    trouble("");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 960 } } });
    } catch (error) {
      trouble({ NotAllowedError: "refused", SecurityError: "refused", NotFoundError: "missing", OverconstrainedError: "missing" }[error.name] || "busy");
      return;
    }
    preview.srcObject = stream;
    await preview.play();
    booth.hidden = false; start.hidden = true; shoot.hidden = false;
    show(); booth.scrollIntoView({ block: "start" }); shoot.focus({ preventScroll: true });
  });
  shoot.addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = preview.videoWidth; canvas.height = preview.videoHeight;
    canvas.getContext("2d").drawImage(preview, 0, 0);
    shoot.disabled = true;
    canvas.toBlob((blob) => add(blob), "image/jpeg", 0.95);
  });
  files.addEventListener("change", async () => {
    const chosen = [...files.files];
    files.value = "";
    for (const file of chosen) await add(file);
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    refused.textContent = "";
    const sent = new FormData(form);
    sent.delete("photos");
    const kept = good();
    for (const shot of kept) sent.append("photos", shot.blob, "photo.jpg");
    try {
      const answer = await fetch(form.action, { method: "POST", body: sent, headers: { "HX-Request": "true" } });
      const elsewhere = answer.headers.get("HX-Redirect");
      if (elsewhere || answer.redirected) {
        stream?.getTracks().forEach((track) => track.stop());
        location.assign(elsewhere || answer.url);
        return;
      }
      const part = new DOMParser().parseFromString(await answer.text(), "text/html");
      refused.replaceChildren(...[...part.body.childNodes].map((node) => document.importNode(node, true)));
      for (const each of part.querySelectorAll("[data-index]")) {
        const shot = kept[Number(each.dataset.index)];
        if (shot) { shot.good = false; say(shot, each.textContent); }
      }
      // A key is good for one content.
      form.querySelector("input[name=_key]").value = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    } catch {
      refused.textContent = form.dataset.offline;
    }
    setTimeout(() => { for (const button of form.querySelectorAll("button")) { button.disabled = false; button.removeAttribute("aria-busy"); } show(); }, 0);
    refused.scrollIntoView({ block: "center" });
  });

  files.removeAttribute("required");
  start.hidden = false;
  show();
  send.disabled = true;
  addEventListener("pagehide", () => stream?.getTracks().forEach((track) => track.stop()));
})();
