// What a page does with an answer: it shows the text. The tests look at the readers.

class Reader {
  text = "";
  seen = []; // every event: its name, its data, its id
  opened = 0;
  lost = []; // at each loss of the connection: the last position that was read
  done = false;

  get position() {
    return this.seen.at(-1)?.id ?? null;
  }

  take(name, data, id) {
    this.seen.push({ name, data, id });
    if (name === "token") this.text += JSON.parse(data).text;
    else if (name === "reset") this.text = JSON.parse(data).text;
    else if (name === "message" && data === "[DONE]") this.done = true;
    else if (name === "message") this.text += data;
    document.getElementById("answer").textContent = this.text;
  }
}

const NAMES = ["message", "start", "token", "reset", "end", "aborted", "failed"];

window.listen = (url, { closeAtDone = false } = {}) => {
  const reader = new Reader();
  const source = new EventSource(url);
  source.onopen = () => {
    reader.opened += 1;
  };
  source.onerror = () => {
    reader.lost.push(reader.position);
  };
  for (const name of NAMES) {
    source.addEventListener(name, (event) => {
      reader.take(name, event.data, event.lastEventId);
      if (closeAtDone && reader.done) source.close();
    });
  }
  Object.defineProperty(reader, "state", { get: () => source.readyState, enumerable: true });
  return reader;
};

class Refused extends Error {}

window.post = async (url, headers, body) => {
  const { fetchEventSource } = await import("/npm/@microsoft/fetch-event-source/lib/esm/index.js");
  const reader = new Reader();
  reader.generations = [];
  reader.ended = null;
  const reading = fetchEventSource(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
    openWhenHidden: true,
    async onopen(response) {
      if (!response.ok) throw new Refused(`${response.status} ${await response.text()}`);
      reader.opened += 1;
      reader.generations.push(response.headers.get("X-Generation-Id"));
    },
    onmessage({ event, data, id }) {
      // The library shows frames without any data too, such as that of `retry:`.
      if (event || data) reader.take(event || "message", data, id);
    },
    onerror(error) {
      if (error instanceof Refused) throw error;
      reader.lost.push(reader.position); // and the library sends the request again
    },
  });
  reading.then(
    () => {
      reader.ended = "whole";
    },
    (error) => {
      reader.ended = String(error);
    },
  );
  return reader;
};
