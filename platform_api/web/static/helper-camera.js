// Handing work in: shutter, send. The photos are made small here, and wait in the outbox until the platform has them.
"use strict";
(() => {
  const { say } = Outbox;
  const at = (id) => document.getElementById(id);
  const form = at("work"), camera = at("camera"), preview = at("preview"), taken = at("taken"), strip = at("strip");
  const input = at("photos"), pick = at("pick"), told = at("told"), missing = at("no-camera"), refused = at("refused");
  const shutter = at("shutter"), again = at("again"), another = at("another"), send = at("send");
  const MOST = 5, LONGEST = 2048, SHORTEST = 200, QUALITY = 0.9, MOST_BYTES = 40 * 2 ** 20;
  const name = form.elements.redo_of.value || "new";
  let photos = [], bad = new Map(), stream = null, reviewing = false, sending = false;
  const urls = new Map();
  const url = (photo) => { if (!urls.has(photo)) urls.set(photo, URL.createObjectURL(photo)); return urls.get(photo); };

  document.body.classList.add("scripted");
  input.required = false;

  const tell = (words) => { told.textContent = words; };
  const complain = (words) => {
    const box = document.createElement("div"), text = document.createElement("p");
    box.className = "problem"; box.setAttribute("role", "alert"); text.textContent = words;
    box.append(text); refused.replaceChildren(box); box.scrollIntoView({ block: "nearest" });
  };

  const draw = () => {
    const live = stream !== null, full = photos.length >= MOST;
    reviewing = reviewing && photos.length > 0 && live;
    camera.hidden = !live;
    preview.hidden = reviewing; taken.hidden = !reviewing;
    if (reviewing) taken.src = url(photos.at(-1));
    shutter.hidden = !live || reviewing || full; again.hidden = !reviewing; another.hidden = !reviewing || full;
    send.hidden = photos.length === 0;
    send.disabled = sending; send.toggleAttribute("aria-busy", sending);
    for (const button of [shutter, again, another]) button.disabled = sending;
    pick.classList.toggle("main", !live && photos.length === 0);
    pick.hidden = full || (live && reviewing);
    strip.hidden = photos.length === 0 || (reviewing && photos.length === 1);
    strip.replaceChildren(...photos.map((photo, index) => {
      const item = document.createElement("li"), picture = document.createElement("img"), away = document.createElement("button");
      picture.src = url(photo); picture.alt = say(`사진 ${index + 1}`, `Photo ${index + 1}`) + (bad.has(photo) ? `: ${bad.get(photo)}` : "");
      away.type = "button"; away.setAttribute("aria-label", say(`사진 ${index + 1} 지우기`, `Remove photo ${index + 1}`));
      away.append(at("icon-x").content.cloneNode(true));
      away.addEventListener("click", () => { remove(photo); tell(say("사진을 지웠습니다.", "Photo removed.")); });
      item.classList.toggle("bad", bad.has(photo)); item.append(picture, away);
      return item;
    }));
  };
  const keep = () => { Outbox.keepDraft(name, photos, form.elements.note.value); draw(); };
  const remove = (photo) => { photos = photos.filter((each) => each !== photo); bad.delete(photo); refused.replaceChildren(); reviewing = false; keep(); };
  const add = (photo) => { photos.push(photo); refused.replaceChildren(); reviewing = stream !== null; tell(say(`사진 ${photos.length}장. 보내거나 더 찍으세요.`, `${photos.length} photo(s). Send, or take more.`)); keep(); };

  // A photo no larger than it needs to be, without place or device in it.
  const small = (source, width, height) => new Promise((resolve) => {
    const scale = Math.min(1, LONGEST / Math.max(width, height)), canvas = document.createElement("canvas");
    canvas.width = Math.round(width * scale); canvas.height = Math.round(height * scale);
    canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(resolve, "image/jpeg", QUALITY);
  });

  // The camera, or what to do where there is none.
  const REASONS = {
    NotAllowedError: () => say("카메라를 쓸 수 없게 되어 있습니다. 주소창 옆 자물쇠에서 카메라를 허용하고 새로 고치거나, 아래 버튼으로 사진 파일을 고르세요.", "The camera is not allowed. Allow it at the lock beside the address and reload, or choose photo files below."),
    NotFoundError: () => say("카메라를 찾지 못했습니다. 아래 버튼으로 사진 파일을 고르세요.", "No camera was found. Choose photo files below."),
    NotReadableError: () => say("다른 앱이 카메라를 쓰고 있습니다. 그 앱을 닫고 새로 고치거나, 아래 버튼으로 사진 파일을 고르세요.", "Another app uses the camera. Close it and reload, or choose photo files below."),
  };
  const start = async () => {
    if (stream || document.hidden) return;
    try {
      if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "NotFoundError");
      stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { facingMode: { ideal: "environment" }, width: { ideal: LONGEST }, height: { ideal: 1536 } } });
      stream.getVideoTracks()[0].addEventListener("ended", () => { stop(); draw(); });
      preview.srcObject = stream;
      await preview.play();
      missing.hidden = true;
    } catch (error) {
      stop();
      missing.textContent = (REASONS[error.name] || REASONS.NotFoundError)();
      missing.hidden = false;
    }
    draw();
  };
  const stop = () => { stream?.getTracks().forEach((track) => track.stop()); stream = null; };
  // Nobody is filmed by a page that nobody looks at.
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else start(); });
  addEventListener("pagehide", stop);

  shutter.addEventListener("click", async () => {
    if (!preview.videoWidth || photos.length >= MOST) return;
    add(await small(preview, preview.videoWidth, preview.videoHeight));
    send.focus({ preventScroll: true });
  });
  again.addEventListener("click", () => { remove(photos.at(-1)); shutter.focus({ preventScroll: true }); });
  another.addEventListener("click", () => { reviewing = false; draw(); shutter.focus({ preventScroll: true }); });
  input.addEventListener("change", async () => {
    const files = [...input.files]; input.value = "";
    for (const file of files) {
      if (photos.length >= MOST) { complain(say(`사진은 ${MOST}장까지입니다. 나머지는 다음 작업으로 보내세요.`, `${MOST} photos at most; send the rest as another task.`)); break; }
      if (file.size > MOST_BYTES) { complain(say(`${file.name}: 사진 파일이 너무 큽니다. ${MOST_BYTES / 2 ** 20} MB까지 고를 수 있습니다. 더 작게 찍거나 다른 사진을 고르세요.`, `${file.name} is too large: ${MOST_BYTES / 2 ** 20} MB at most. Choose a smaller one.`)); continue; }
      let picture;
      try { picture = await createImageBitmap(file); }
      catch { complain(say(`${file.name}: 열 수 없는 파일입니다. JPEG, PNG, WebP 사진을 고르세요.`, `${file.name} cannot be opened; choose a JPEG, PNG or WebP photo.`)); continue; }
      if (Math.min(picture.width, picture.height) < SHORTEST) complain(say(`${file.name}: 사진이 너무 작습니다. 원본을 고르세요.`, `${file.name} is too small; choose the original.`));
      else add(await small(picture, picture.width, picture.height));
      picture.close();
    }
  });

  send.addEventListener("click", async (event) => {
    event.preventDefault();
    if (!photos.length || sending) return;
    sending = true; refused.replaceChildren(); bad.clear(); draw();
    tell(say("보내고 있습니다.", "Sending."));
    const fields = Object.fromEntries(["branch_id", "kind", "note", "redo_of"].map((field) => [field, form.elements[field].value]));
    const sentNow = photos;
    const task = await Outbox.add(fields, sentNow, form.dataset.place);
    await Outbox.keepDraft(name, []);
    const said = navigator.onLine ? await Outbox.send(task.id) : { what: "later" };
    sending = false;
    if (said.what === "done") { stop(); location.href = said.url; return; }
    if (said.what === "ended") { location.href = said.url || "/app/login?ended=1"; return; }
    if (said.what === "refused") {
      // Back to the form, as it was: what is wrong can be mended here.
      await Outbox.drop(task.id);
      refused.innerHTML = said.html;
      for (const words of refused.querySelectorAll("[data-photo]")) bad.set(sentNow[Number(words.dataset.photo)], words.textContent);
      reviewing = false; keep(); refused.scrollIntoView({ block: "nearest" });
    } else {
      photos = []; reviewing = false; form.elements.note.value = "";
      tell(say("사진은 이 휴대폰에서 기다립니다. 연결되면 저절로 보냅니다.", "The photos wait on this phone and are sent once you are connected."));
      draw(); Outbox.show();
      at("outbox").scrollIntoView({ block: "nearest" });
      if (said.what === "later" && navigator.onLine) setTimeout(() => dispatchEvent(new Event("online")), 1000 * (said.after || 5));
    }
  });

  Outbox.draft(name).then((kept) => {
    photos = [...kept.photos, ...photos].slice(0, MOST);
    if (!form.elements.note.value && kept.note) form.elements.note.value = kept.note;
    draw();
  });
  draw();
  start();
})();
