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

export function ring() {
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const volume = audio.createGain();
  tone.frequency.value = 880;
  volume.gain.setValueAtTime(0.15, audio.currentTime);
  volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.6);
  tone.connect(volume).connect(audio.destination);
  tone.start();
  tone.stop(audio.currentTime + 0.6);
  tone.onended = () => audio.close();
}

// Reports each new alert to the page, and rings if it is asked to.
export function mountBell(component) {
  let current = component;
  const stop = listen((name, said) => {
    if (name !== "alert" || !said.is_new) return;
    if (current.data.sound) ring();
    current.setTriggerValue("alert", said.alert_id);
  });
  return { update: (next) => { current = next; }, destroy: stop };
}
