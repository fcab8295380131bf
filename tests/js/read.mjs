// Reads one stream with eventsource-parser. The request comes as JSON on stdin, and what was read
// goes out as JSON on stdout.
import { text } from "node:stream/consumers";
import { EventSourceParserStream } from "eventsource-parser/stream";

const { url, ...request } = JSON.parse(await text(process.stdin));
const response = await fetch(url, request);
const generation = response.headers.get("X-Generation-Id");
const read = { status: response.status, generation, retries: [], faults: [], events: [] };
if (response.status === 200) {
  const parser = new EventSourceParserStream({
    onRetry: (milliseconds) => read.retries.push(milliseconds),
    onError: (error) => read.faults.push(error.message),
  });
  const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(parser);
  for await (const event of events) read.events.push(event);
}
process.stdout.write(JSON.stringify(read));
