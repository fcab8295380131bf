// Uses the client as a program of Node does. What to do comes as JSON on stdin; what became of it
// goes out as JSON on stdout.
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const { file, options, question, abortAt, channel } = JSON.parse(await text(process.stdin));
const { RunnelClient } = await import(pathToFileURL(file));
const client = new RunnelClient(options);
const told = { types: [], positions: [], states: [] };
client.addEventListener("state", ({ detail }) => told.states.push(detail));

async function ask() {
  const answer = client.ask(question);
  for await (const event of answer) {
    told.types.push(event.type);
    told.positions.push(event.position);
    if (answer.text === abortAt) await answer.abort();
  }
  Object.assign(told, { text: answer.text, status: answer.status, id: answer.generationId });
}

async function talk() {
  const socket = client.socket(channel);
  told.text = "";
  socket.addEventListener("stream_chunk", ({ detail }) => (told.text += detail.content));
  await new Promise((resolve) => {
    socket.addEventListener("stream_end", resolve);
    socket.send(question.message);
  });
  socket.close();
}

await (channel ? talk() : ask());
process.stdout.write(JSON.stringify(told));
