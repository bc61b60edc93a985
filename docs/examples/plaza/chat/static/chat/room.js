/*
 * The page of a room. It begins with the lines that the server has put into it, and
 * asks for those after the last one whenever it connects, so that it misses none.
 */
import { keepOpen } from "../live.js";

const room = document.getElementById("room");
const log = document.getElementById("log");
const lines = document.getElementById("lines");
const text = document.getElementById("text");
const error = document.getElementById("error");

// Text that has not come back yet, by key. It is sent until it does: a server that
// has kept it already knows the key.
const waiting = new Map();
// The last line below which none is missing. Only answers raise it: what all are told
// may get lost, and is asked for then.
let last = Number(lines.lastElementChild?.dataset.id ?? 0);
// Who is here, and who was when that was announced.
let people = null;
let announced = null;
let announcing = 0;

const STATES = {
  connecting: "Connecting …",
  open: "Connected",
  closed: "The connection is lost. Trying again soon …",
  refused: "You have no access any more. Log in, and load the page again.",
};

const send = keepOpen(room.dataset.socket, {
  every: 20000,
  ask: () => ({ after: last }),
  hear(told) {
    told.lines?.forEach(showLine);
    if ("more" in told) {
      goOn(told);
    }
    if (told.people) {
      showPeople(told.people);
    }
    if (told.error) {
      giveBack(told);
    }
  },
  show(state) {
    room.dataset.state = state;
    if (state === "open") {
      room.dataset.connections = Number(room.dataset.connections ?? 0) + 1;
    }
    if (state === "refused") {
      // Nobody takes it any more.
      text.value ||= [...waiting.values()].join(" ");
      error.textContent = "";
    }
    document.getElementById("state").textContent = STATES[state];
  },
});

/* Asks for the rest after an answer, or says what has not come back. */
function goOn(told) {
  last = Math.max(last, ...told.lines.map((line) => line.id));
  if (told.more) {
    send({ after: last });
    return;
  }
  for (const [key, value] of waiting) {
    send({ text: value, key });
  }
}

function showLine(line) {
  if (waiting.delete(line.key)) {
    error.textContent = "";
  }
  if (lines.querySelector(`[data-id="${line.id}"]`)) {
    return;
  }
  const item = document.getElementById("line").content.firstElementChild.cloneNode(true);
  item.dataset.id = line.id;
  item.classList.toggle("own", line.author === room.dataset.me);
  item.querySelector("b").textContent = line.author;
  item.querySelector("p").textContent = line.text;
  const time = item.querySelector("time");
  time.dateTime = line.time;
  showTime(time);
  const others = [...lines.querySelectorAll(".line")];
  lines.insertBefore(item, others.find((other) => other.dataset.id > line.id) ?? null);
  if (item.classList.contains("own")) {
    // The end, as the style makes it. Without that it stays where its reader is.
    log.scrollTop = 0;
  }
}

function showTime(time) {
  const format = { hour: "2-digit", minute: "2-digit" };
  time.textContent = new Date(time.dateTime).toLocaleTimeString([], format);
}

function showPeople(now) {
  people = now;
  const items = now.map((name) => {
    const item = document.createElement("li");
    item.textContent = name;
    return item;
  });
  document.getElementById("people").replaceChildren(...items);
  announced ??= now;
  // Somebody who loads the page again has not left.
  clearTimeout(announcing);
  announcing = setTimeout(announce, 1500);
}

function announce() {
  const came = people.filter((name) => !announced.includes(name));
  const left = announced.filter((name) => !people.includes(name));
  announced = people;
  for (const [names, what] of [[came, "came in"], [left, "left"]]) {
    if (names.length) {
      const item = document.createElement("li");
      item.className = "event";
      item.textContent = `${names.join(", ")} ${what}`;
      lines.append(item);
    }
  }
}

function giveBack(told) {
  error.textContent = told.error;
  if (!text.value) {
    text.value = waiting.get(told.key) ?? "";
  }
  waiting.delete(told.key);
}

function makeKey() {
  // crypto.randomUUID() is there by HTTPS and on localhost only.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

document.getElementById("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (room.dataset.state === "refused") {
    error.textContent = STATES.refused;
    return;
  }
  const key = makeKey();
  waiting.set(key, text.value);
  const isSent = send({ text: text.value, key });
  error.textContent = isSent ? "" : "It will be sent when the connection is back.";
  text.value = "";
  text.focus();
});

lines.querySelectorAll("time").forEach(showTime);
