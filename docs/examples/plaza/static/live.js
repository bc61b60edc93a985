/*
 * A WebSocket that is opened again whenever it is lost.
 *
 * keepOpen(path, {ask, every, hear, show}) returns a function that sends a value,
 * and returns whether that was possible.
 *
 * - ask() returns what to send when it opens, and again every so many milliseconds,
 *   once the last has been answered. It may return null to leave it out. If nothing
 *   comes for half a minute, the connection is taken for dead.
 * - hear(value) is called with each value that comes.
 * - show(state) is called when it becomes "connecting", "open", "closed" (until it is
 *   open again) or "refused" (for good).
 */
const LONGEST_PAUSE = 30; // Seconds between two tries.
const PATIENCE = 30000; // Milliseconds to wait for an answer.

// Nobody is logged in; they may not; there is no such room.
const REFUSALS = new Set([4401, 4403, 4404]);

export function keepOpen(path, { ask, every, hear, show }) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  let socket = null;
  let state = null;
  let failures = 0;
  let next = null;
  let asked = null; // When, while there is no answer.

  // Not again for each try, as it is read aloud.
  function become(now) {
    if (now !== state) {
      state = now;
      show(now);
    }
  }

  function open() {
    clearTimeout(next);
    if (!failures) {
      become("connecting");
    }
    socket = new WebSocket(url);
    socket.onopen = () => {
      asked = null;
      become("open");
      askAgain();
    };
    socket.onmessage = (event) => {
      asked = null;
      failures = 0;
      hear(JSON.parse(event.data));
    };
    socket.onclose = (event) => lose(event.code);
  }

  function lose(code) {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    socket = null;
    if (REFUSALS.has(code)) {
      next = null;
      become("refused");
      return;
    }
    become("closed");
    // Not all pages at once, when a server comes back.
    const pause = Math.min(2 ** failures++, LONGEST_PAUSE) * (0.5 + Math.random() / 2);
    next = setTimeout(open, 1000 * pause);
  }

  function send(value) {
    if (socket?.readyState !== WebSocket.OPEN) {
      return false;
    }
    socket.send(JSON.stringify(value));
    return true;
  }

  function askAgain() {
    if (asked === null) {
      const question = ask();
      if (question !== null && send(question)) {
        asked = Date.now();
      }
    } else if (socket && Date.now() - asked > PATIENCE) {
      lose();
    }
  }

  setInterval(askAgain, every);
  window.addEventListener("online", () => {
    if (next !== null && !socket) {
      open();
    }
  });
  open();
  return send;
}
