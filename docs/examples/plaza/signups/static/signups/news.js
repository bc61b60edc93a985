/*
 * Shows sign-ups as they come. The page begins with those that the server has put into
 * it, and names the last one whenever it asks for more.
 */
const news = document.getElementById("news");
const names = document.getElementById("names");
const total = document.getElementById("total");

const MOST_NAMES = 20;
const seen = new Set();
let last = Number(news.dataset.last);
let count = Number(total.textContent.replaceAll(",", ""));

function add(signup) {
  if (seen.has(signup.id)) {
    return;
  }
  seen.add(signup.id);
  last = Math.max(last, signup.id);
  const item = document.createElement("li");
  item.textContent = signup.name;
  item.className = "fresh";
  names.prepend(item);
  while (names.children.length > MOST_NAMES) {
    names.lastElementChild.remove();
  }
  count += 1;
  total.textContent = count.toLocaleString("en");
}

function show(state, sentence) {
  news.dataset.state = state;
  const element = document.getElementById("state");
  // Whatever is set is read aloud.
  if (element.textContent !== sentence) {
    element.textContent = sentence;
  }
}

/* Follows the stream of events, and returns a function that ends it. */
function stream() {
  const source = new EventSource(`${news.dataset.events}?after=${last}`);
  source.onopen = () => show("stream", "New names appear by themselves.");
  source.onmessage = (event) => add(JSON.parse(event.data));
  source.addEventListener("reload", () => location.reload());
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) {
      // Something on the way does not let streams through.
      choose("poll");
    }
  };
  return () => source.close();
}

/* Asks for what is new until it has come, again and again. */
function poll() {
  const ending = new AbortController();
  const { signal } = ending;

  async function ask() {
    const response = await fetch(`${news.dataset.poll}?after=${last}`, { signal });
    if (response.ok) {
      (await response.json()).signups.forEach(add);
    } else if (response.status !== 504) {
      throw new Error(response.statusText);
    }
  }

  async function run() {
    while (!signal.aborted) {
      show("poll", "New names appear by themselves, as the page asks for them.");
      try {
        await ask();
      } catch (error) {
        if (!signal.aborted) {
          show("closed", "The connection is lost. Trying again soon …");
          // Not all pages at once, when a server comes back.
          const pause = 5000 * (0.5 + Math.random());
          await new Promise((wake) => setTimeout(wake, pause));
        }
      }
    }
  }

  run();
  return () => ending.abort();
}

const MODES = { stream, poll };
let stop = () => {};

function choose(mode) {
  stop();
  document.querySelector(`#modes [value=${mode}]`).checked = true;
  stop = MODES[mode]();
}

document.getElementById("modes").addEventListener("change", (event) => {
  choose(event.target.value);
});
choose(document.querySelector("#modes :checked").value);
