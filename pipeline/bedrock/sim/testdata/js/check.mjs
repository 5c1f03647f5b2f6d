// Checks the simulator with the AWS SDK for JavaScript, which speaks HTTP/2 with prior knowledge
// to an http:// endpoint. usage: node check.mjs URL
import assert from "node:assert/strict";
import {
  BedrockRuntimeClient,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from "@aws-sdk/client-bedrock-runtime";

for (const name of Object.keys(process.env)) {
  if (name.startsWith("AWS_")) delete process.env[name];
}
const client = new BedrockRuntimeClient({
  endpoint: process.argv[2],
  region: "us-east-1",
  credentials: { accessKeyId: "simulated", secretAccessKey: "simulated" },
  maxAttempts: 1,
});
const utf8 = new TextDecoder("utf-8", { fatal: true });
const claude = (prompt) => ({
  anthropic_version: "bedrock-2023-05-31",
  max_tokens: 200,
  messages: [{ role: "user", content: prompt }],
});
const CLAUDE = "us.anthropic.claude-3-5-haiku-20241022-v1:0";

// Each family: its request, and the text of one chunk and of a whole body.
const families = [
  [CLAUDE, claude("Grüße 🌍"), (c) => c.delta?.text ?? "", (b) => b.content[0].text],
  [
    "amazon.nova-lite-v1:0",
    { messages: [{ role: "user", content: [{ text: "x" }] }] },
    (c) => c.contentBlockDelta?.delta.text ?? "",
    (b) => b.output.message.content[0].text,
  ],
  ["amazon.titan-text-express-v1", { inputText: "x" }, (c) => c.outputText, (b) => b.results[0].outputText],
  ["meta.llama3-8b-instruct-v1:0", { prompt: "x" }, (c) => c.generation, (b) => b.generation],
];

async function* chunks(modelId, body) {
  const out = await client.send(
    new InvokeModelWithResponseStreamCommand({ modelId, contentType: "application/json", body: JSON.stringify(body) }),
  );
  for await (const event of out.body) {
    if (event.chunk) yield JSON.parse(utf8.decode(event.chunk.bytes));
  }
}

for (const [modelId, body, piece, whole] of families) {
  let text = "";
  let last;
  for await (const c of chunks(modelId, body)) {
    text += piece(c);
    last = c;
  }
  const out = await client.send(
    new InvokeModelCommand({ modelId, contentType: "application/json", body: JSON.stringify(body) }),
  );
  assert.equal(text, whole(JSON.parse(utf8.decode(out.body))), modelId);
  assert.ok(text.length > 50, modelId);
  assert.ok(last["amazon-bedrock-invocationMetrics"].outputTokenCount > 0, modelId);
}

const before = {
  ThrottlingException: 429,
  ModelNotReadyException: 429,
  ServiceQuotaExceededException: 400,
  ModelTimeoutException: 408,
  ModelErrorException: 424,
  ModelStreamErrorException: 424,
  InternalServerException: 500,
  ServiceUnavailableException: 503,
  ValidationException: 400,
  AccessDeniedException: 403,
  ResourceNotFoundException: 404,
  ExpiredTokenException: 403,
};
for (const [name, status] of Object.entries(before)) {
  await assert.rejects(
    async () => {
      for await (const _ of chunks(CLAUDE, claude(`[[fault:${name}]]`))); // eslint-disable-line
    },
    (err) => err.name === name && err.$metadata.httpStatusCode === status,
    name,
  );
}

for (const name of [
  "internalServerException",
  "modelStreamErrorException",
  "validationException",
  "throttlingException",
  "modelTimeoutException",
  "serviceUnavailableException",
]) {
  let n = 0;
  await assert.rejects(
    async () => {
      for await (const _ of chunks(CLAUDE, claude(`[[fault:${name}@3]]`))) n++; // eslint-disable-line
    },
    (err) => err.name.toLowerCase() === name.toLowerCase(),
    name,
  );
  assert.equal(n, 3, name);
}

// What breaks the wire must break here as well.
for (const kind of ["bad-message-crc", "bad-prelude-crc", "rst-stream", "truncate-inside"]) {
  await assert.rejects(async () => {
    for await (const _ of chunks(CLAUDE, claude(`[[fault:${kind}@3]]`))); // eslint-disable-line
  }, kind);
}

const stats = await (await fetch(process.argv[2] + "/stats")).json();
assert.equal(stats.inFlight, 0);
assert.equal(stats.http2Calls, stats.calls, "the SDK speaks HTTP/2");
console.log(`all checks passed; ${stats.calls} calls over ${stats.connections} connections`);
