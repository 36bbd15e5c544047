// The portal's only script. Every page works without it.
"use strict";

// Times: in the viewer's zone, with UTC on hover. The year appears only if it is another one.
function showLocalTimes(root) {
  const thisYear = new Date().getFullYear();
  for (const time of root.querySelectorAll("time[datetime]:not([data-local])")) {
    const at = new Date(time.dateTime);
    time.dataset.local = "yes";
    time.textContent = at.toLocaleString(undefined, {
      year: at.getFullYear() === thisYear ? undefined : "numeric",
      month: "short",
      day: "numeric",
      hour: "numeric",
      minute: "2-digit",
      second: "seconds" in time.dataset ? "2-digit" : undefined,
    }).replace(/([^,]) /g, "$1\u00a0"); // in a narrow column, it breaks between date and time
  }
}

// Times that people enter: in the viewer's zone, like those that are shown. They are sent in UTC.
function enterLocalTimes() {
  for (const field of document.querySelectorAll('input[type="datetime-local"]')) {
    const label = document.querySelector(`label[for="${field.id}"] [data-zone]`);
    label.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (field.value) {
      const at = new Date(`${field.value}Z`);
      field.value = new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
    }
    field.form.addEventListener("formdata", (event) => {
      if (field.value) {
        event.formData.set(field.name, new Date(field.value).toISOString().slice(0, 16));
      }
    });
  }
}

// On a phone, the cells of a row are below each other, each with the heading of its column.
function labelCells(table) {
  const labels = [...table.querySelectorAll("thead th")].map((head) => (head.querySelector(".hidden") ? "" : head.textContent));
  table.dataset.labels = "yes";
  for (const row of table.tBodies[0].rows) {
    [...row.cells].forEach((cell, column) => { cell.dataset.label = labels[column] ?? ""; });
  }
}

function showCopyButtons(root) {
  if (!navigator.clipboard) {
    return; // without TLS, except on localhost
  }
  for (const button of root.querySelectorAll("[data-copy]")) {
    const label = button.textContent;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = label; }, 2000);
    });
  }
}

// Forms: what the browser finds wrong stands next to the field, as the server's findings do.
function checkFields() {
  for (const field of document.querySelectorAll("form.stacked .field :is(input, select, textarea)")) {
    const box = field.closest(".field");
    const note = document.createElement("p");
    note.className = "error";
    note.id = `check-${field.id}`;
    const described = field.getAttribute("aria-describedby") ?? "";
    const show = () => {
      const text = field.validationMessage;
      note.textContent = text;
      box.classList.toggle("wrong", text !== "");
      field.setAttribute("aria-invalid", String(text !== ""));
      field.setAttribute("aria-describedby", text ? `${described} ${note.id}` : described);
      if (text) {
        box.querySelector(".error")?.remove(); // of the server, about the text before
        field.before(note);
      } else {
        note.remove();
      }
    };
    field.addEventListener("change", show);
    field.addEventListener("input", () => { // before the next click, which would miss a field that moves
      if (note.isConnected && field.validity.valid) {
        show();
      }
    });
    field.addEventListener("invalid", show);
  }
}

// A live tail. It stops while the tab is hidden or the person pauses it, and continues after the last row.
function startTail(box) {
  const rows = document.getElementById(box.dataset.target);
  const state = box.querySelector("[data-live-state]");
  const button = box.querySelector("[data-live-switch]");
  let events = null;
  let last = "";
  let paused = false;
  let why = "";
  let signedOut = false;

  function say(text) {
    state.textContent = text;
  }

  function stop(text) {
    if (events) {
      events.close();
      events = null;
    }
    say(text);
  }

  function start() {
    const url = new URL(box.dataset.live, location.href);
    if (last) {
      url.searchParams.set("after", last);
    }
    events = new EventSource(url);
    events.onopen = () => say("Live");
    events.onerror = () => {
      say("Connecting again");
      if (events.readyState === EventSource.CLOSED) { // an answer that is not a stream: the browser gives up
        events = null;
        setTimeout(update, 3000);
      }
    };
    events.addEventListener("end", () => { // the server ended the tail, which happens when it restarts
      stop("Connecting again");
      setTimeout(update, 1000);
    });
    events.addEventListener("signed-out", () => {
      signedOut = true;
      stop("You are signed out. Reload the page to sign in again.");
      button.hidden = true;
    });
    events.addEventListener("too-many", (event) => {
      pause(true, event.data);
    });
    events.onmessage = (event) => {
      last = event.lastEventId;
      const made = document.createElement("template");
      made.innerHTML = event.data;
      const row = made.content.firstElementChild;
      document.querySelector(".empty")?.remove();
      const before = row.id && document.getElementById(row.id);
      if (before) {
        before.replaceWith(row);
      } else {
        rows.prepend(row);
      }
      showLocalTimes(rows);
      labelCells(rows.closest("table"));
      while (rows.children.length > Number(box.dataset.limit)) {
        rows.lastElementChild.remove();
      }
    };
  }

  function update() {
    if (signedOut) {
      return;
    }
    const wanted = !paused && !document.hidden;
    if (wanted && !events) {
      start();
    } else if (!wanted) {
      stop(why || "Paused");
    }
  }

  function pause(wanted, text) {
    paused = wanted;
    why = text;
    button.textContent = paused ? "Continue" : "Pause";
    update();
  }

  box.hidden = false;
  button.addEventListener("click", () => pause(!paused, ""));
  document.addEventListener("visibilitychange", update);
  update();
}

// A part of a page about something that changes: read again while the tab is visible, until it has ended.
function refreshLater(box, before = "") {
  setTimeout(() => {
    if (document.hidden) {
      document.addEventListener("visibilitychange", () => refresh(box, before), { once: true });
    } else {
      refresh(box, before);
    }
  }, Number(box.dataset.refresh));
}

async function refresh(box, before) {
  let answer = null;
  let text = "";
  try {
    answer = await fetch(location.href);
    text = await answer.text();
  } catch {
    answer = null; // no connection
  }
  if (!answer || answer.status >= 500) {
    refreshLater(box, before);
    return;
  }
  const next = new DOMParser().parseFromString(text, "text/html").getElementById(box.id);
  if (!next) { // signed out, or deleted
    location.reload();
    return;
  }
  const now = next.outerHTML;
  if (now !== before) { // otherwise, what the person selected or focused stays so
    box.replaceWith(next);
    showLocalTimes(next);
    next.querySelectorAll("table").forEach(labelCells);
    showCopyButtons(next);
    box = next;
  }
  if ("refresh" in next.dataset) {
    refreshLater(box, now);
  }
}

// A page that answered a form with a secret: reloading it must not send the form again.
function leaveForm() {
  const page = document.querySelector("[data-reload]");
  if (page) {
    history.replaceState(null, "", page.dataset.reload);
  }
}

leaveForm();
showLocalTimes(document);
document.querySelectorAll("main table").forEach(labelCells);
showCopyButtons(document);
enterLocalTimes();
checkFields();
document.querySelectorAll("[data-live]").forEach(startTail);
document.querySelectorAll("[data-refresh]").forEach((box) => refreshLater(box));
