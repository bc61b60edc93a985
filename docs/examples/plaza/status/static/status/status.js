/*
 * Keeps the figures of the page fresh, and draws how many messages wait.
 */
import { keepOpen } from "../live.js";

const EVERY = 2000; // Milliseconds.
const SAMPLES = 61; // Of two minutes.

const status = document.getElementById("status");
const figures = document.getElementById("figures");
const plot = document.getElementById("plot");
const { width, height } = plot.viewBox.baseVal;
// They outlive the page, as handing out chores loads it again.
const samples = JSON.parse(sessionStorage.getItem("samples") ?? "[]");

const STATES = {
  connecting: "Connecting …",
  open: "Live",
  closed: "The connection is lost. Trying again soon …",
  refused: "You have no access any more. Log in, and load the page again.",
};

keepOpen(status.dataset.socket, {
  every: EVERY,
  ask: () => (document.hidden ? null : {}),
  hear({ waiting, html }) {
    // Made by a template of the site, which escapes what it is given.
    figures.innerHTML = html;
    samples.push({ time: Date.now(), waiting });
    draw();
    sessionStorage.setItem("samples", JSON.stringify(samples));
  },
  show(state) {
    status.dataset.state = state;
    document.getElementById("state").textContent = STATES[state];
  },
});

function draw() {
  const end = samples.at(-1).time;
  const span = EVERY * (SAMPLES - 1);
  while (end - samples[0].time > span) {
    samples.shift();
  }
  const highest = Math.max(...samples.map((sample) => sample.waiting));
  const top = Math.max(highest, 10);
  const points = samples.map(({ time, waiting }) => [
    width * (1 - (end - time) / span),
    // Not onto the edges, where half of the line would be cut off.
    height - 2 - (height - 4) * (waiting / top),
  ]);
  const ground = [[width, height], [points[0][0], height]];
  document.getElementById("curve").setAttribute("points", points.join(" "));
  document.getElementById("area").setAttribute("points", [...points, ...ground].join(" "));
  document.getElementById("highest").textContent = highest;
  plot.dataset.samples = samples.length;
}
