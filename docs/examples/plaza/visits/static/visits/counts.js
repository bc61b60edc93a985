/*
 * Fetches the counts again soon after the page has loaded, and whenever it comes
 * back to the front, so that visitors see their own visit counted. Without this
 * script the next load of the page shows it.
 */
const counts = document.getElementById("counts");

async function refresh() {
  const response = await fetch(counts.dataset.url);
  if (!response.ok) {
    return;
  }
  const fresh = document.createElement("div");
  fresh.innerHTML = await response.text();
  if (fresh.textContent.trim() !== counts.textContent.trim()) {
    counts.replaceChildren(...fresh.childNodes);
    counts.classList.add("fresh");
  }
}

function attempt() {
  refresh().catch(() => {}); // Offline: the page keeps the counts that it has.
}

for (const milliseconds of [200, 1000, 4000]) {
  setTimeout(attempt, milliseconds);
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    attempt();
  }
});
