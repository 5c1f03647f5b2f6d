// Reads a stream of the simulator with the AWS SDK for JavaScript: node js.mjs URL MODEL BODY TEXT
import { BedrockRuntimeClient, InvokeModelWithResponseStreamCommand } from '@aws-sdk/client-bedrock-runtime';

const [endpoint, modelId, body, want] = process.argv.slice(2);
const client = new BedrockRuntimeClient({ endpoint, region: 'us-east-1', maxAttempts: 1 });
const faults = [];

const ask = async (body) => {
  const out = await client.send(new InvokeModelWithResponseStreamCommand({ modelId, body, contentType: 'application/json' }));
  let text = '';
  let last = '';
  for await (const event of out.body) {
    const chunk = JSON.parse(new TextDecoder().decode(event.chunk.bytes));
    if (chunk.type === 'content_block_delta') text += chunk.delta.text ?? '';
    last = chunk.type;
  }
  return { text, last };
};

const { text, last } = await ask(body);
if (text !== want) faults.push(`text is ${JSON.stringify(text)}, expected ${JSON.stringify(want)}`);
if (last !== 'message_stop') faults.push(`the last event is ${last}`);

// Errors before and within the stream come as the SDK's own types.
for (const [marker, name] of [
  ['ThrottlingException', 'ThrottlingException'],
  ['ValidationException', 'ValidationException'],
  ['throttlingException@3', 'ThrottlingException'],
  ['modelStreamErrorException@3', 'ModelStreamErrorException'],
]) {
  try {
    await ask(body.replace('Who', `[[fault:${marker}]] Who`));
    faults.push(`${marker}: no error`);
  } catch (e) {
    if (e.name !== name) faults.push(`${marker}: ${e.name}: ${e.message}, expected ${name}`);
  }
}
for (const f of faults) console.log(`js: ${f}`);
console.log(`js: 1 answer and 4 errors read: ${faults.length} faults`);
process.exit(faults.length > 0 ? 1 : 0);
