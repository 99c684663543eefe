// One stream of live events for all charts of a page, and the sound of an alert.

const listeners = new Set();
let source = null;

function open() {
  source = new EventSource("/tape/events", { withCredentials: true });
  for (const name of ["bar", "alert"]) {
    source.addEventListener(name, (event) => {
      const said = JSON.parse(event.data);
      listeners.forEach((listener) => listener(name, said));
    });
  }
}

// Calls `listener(name, data)` for each event, until the returned function is called. The browser connects again by itself.
export function listen(listener) {
  listeners.add(listener);
  if (source === null) open();
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0 && source !== null) {
      source.close();
      source = null;
    }
  };
}

let audio = null;

// A browser lets a page sound once a person has clicked or typed in it.
function unlock() {
  audio ??= new AudioContext();
  if (audio.state === "suspended") audio.resume();
}
for (const name of ["pointerdown", "keydown"]) window.addEventListener(name, unlock, { capture: true, passive: true });

// Whether it can be heard.
async function ring() {
  unlock();
  if (audio.state !== "running") return false;
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  tone.frequency.value = 880;
  volume.gain.setValueAtTime(0.15, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.6);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.6);
  await new Promise((resolve) => { tone.onended = resolve; });
  return true;
}

// Reports each new alert to the page, rings unless the person has muted it, and takes the person's theme.
export function mountBell(component) {
  const place = component.parentElement.querySelector('[data-part="bell"]');
  let current = component;
  const take = (next) => {
    current = next;
    window.tapewatchTheme?.(next.data.theme);
  };
  const stop = listen(async (name, said) => {
    if (name !== "alert" || !said.is_new) return;
    current.setTriggerValue("alert", said.alert_id);
    if (!current.data.is_muted && await ring()) place.dataset.rung = said.alert_id;
  });
  take(component);
  return { update: take, destroy: stop };
}
