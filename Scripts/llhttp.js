// Reads lines of bytes in hexadecimal and parses each by llhttp, which is part of Node.js. Writes a
// line for each: the bodies of the complete requests, in hexadecimal.
"use strict";

const { HTTPParser } = require("_http_common");
const lines = require("readline").createInterface({ input: process.stdin });

function bodiesOf(bytes) {
  const bodies = [];
  let pieces = [];
  const parser = new HTTPParser();
  parser.initialize(HTTPParser.REQUEST, {});
  parser[HTTPParser.kOnHeadersComplete] = () => {};
  parser[HTTPParser.kOnBody] = (buffer, start = 0, count = buffer.length) => {
    pieces.push(Buffer.from(buffer.subarray(start, start + count)));
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    bodies.push(Buffer.concat(pieces));
    pieces = [];
  };
  parser.execute(bytes);
  return bodies;
}

lines.on("line", (line) => {
  const bodies = bodiesOf(Buffer.from(line, "hex"));
  process.stdout.write(bodies.map((body) => "=" + body.toString("hex")).join("") + "\n");
});
