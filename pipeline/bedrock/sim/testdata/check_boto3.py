"""Checks the simulator with a client that shares nothing with it: boto3.

usage: python3 check_boto3.py URL

Every family is asked for a stream and for a plain answer, which must agree; every modelled
exception must arrive as the type that boto3 knows it by, before the stream and within it.
"""

import base64
import json
import os
import sys

for name in list(os.environ):
    if name.startswith("AWS_"):
        del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.exceptions import ClientError, EventStreamError  # noqa: E402

URL = sys.argv[1]
client = boto3.client(
    "bedrock-runtime",
    endpoint_url=URL,
    region_name="us-east-1",
    aws_access_key_id="simulated",
    aws_secret_access_key="simulated",
    config=Config(retries={"total_max_attempts": 1}, read_timeout=10),
)

CLAUDE = "anthropic.claude-3-5-haiku-20241022-v1:0"
checks = 0


def check(ok, what):
    global checks
    checks += 1
    if not ok:
        sys.exit(f"check_boto3: {what}")


def claude(prompt, **more):
    return {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 200,
            "messages": [{"role": "user", "content": prompt}], **more}


def assemble_claude(chunks):
    message = None
    for c in chunks:
        kind = c["type"]
        if kind == "message_start":
            message = c["message"]
        elif kind == "content_block_start":
            message["content"].insert(c["index"], c["content_block"])
            pieces = ""
        elif kind == "content_block_delta":
            block, delta = message["content"][c["index"]], c["delta"]
            if delta["type"] == "input_json_delta":
                pieces += delta["partial_json"]
            elif delta["type"] == "citations_delta":
                block["citations"].append(delta["citation"])
            else:
                member = delta["type"].removesuffix("_delta")
                block[member] += delta[member]
        elif kind == "content_block_stop":
            if message["content"][c["index"]]["type"] == "tool_use":
                message["content"][c["index"]]["input"] = json.loads(pieces or "{}")
        elif kind == "message_delta":
            message.update(c["delta"])
            message["usage"].update(c["usage"])
    check(chunks[-1]["type"] == "message_stop", "claude: no message_stop")
    return message


def assemble_nova(chunks):
    content, stop = [], None
    for c in chunks:
        if "contentBlockStart" in c:
            content.append({"toolUse": {**c["contentBlockStart"]["start"]["toolUse"], "input": ""}})
        elif "contentBlockDelta" in c:
            delta = c["contentBlockDelta"]["delta"]
            if "toolUse" in delta:
                content[-1]["toolUse"]["input"] += delta["toolUse"]["input"]
            elif content and "text" in content[-1]:
                content[-1]["text"] += delta["text"]
            else:
                content.append({"text": delta["text"]})
        elif "messageStop" in c:
            stop = c["messageStop"]["stopReason"]
    for block in content:
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"])
    return {"output": {"message": {"role": "assistant", "content": content}},
            "stopReason": stop, "usage": chunks[-1]["metadata"]["usage"]}


def assemble_titan(chunks):
    last = chunks[-1]
    return {"inputTextTokenCount": last["inputTextTokenCount"],
            "results": [{"tokenCount": last["totalOutputTextTokenCount"],
                         "outputText": "".join(c["outputText"] for c in chunks),
                         "completionReason": last["completionReason"]}]}


def assemble_llama(chunks):
    return {"generation": "".join(c["generation"] for c in chunks),
            "prompt_token_count": chunks[0]["prompt_token_count"],
            "generation_token_count": chunks[-1]["generation_token_count"],
            "stop_reason": chunks[-1]["stop_reason"]}


TOOLS = [{"name": "lookup", "input_schema": {"type": "object"}}]
CASES = [
    (CLAUDE, assemble_claude, claude("Grüße, 世界 🌍")),
    (CLAUDE, assemble_claude, claude("think", thinking={"type": "enabled", "budget_tokens": 1024})),
    (CLAUDE, assemble_claude, claude("call", tools=TOOLS, tool_choice={"type": "any"})),
    (CLAUDE, assemble_claude, claude("[[cite]][[redacted]]")),
    (CLAUDE, assemble_claude, claude("[[refuse]][[cache:read=9,write=3]]")),
    ("us.amazon.nova-pro-v1:0", assemble_nova, {"messages": [{"role": "user", "content": [{"text": "x"}]}]}),
    ("amazon.nova-lite-v1:0", assemble_nova, {
        "messages": [{"role": "user", "content": [{"text": "[[tool:2]]"}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "lookup"}}]}}),
    ("amazon.titan-text-express-v1", assemble_titan, {"inputText": "x"}),
    ("amazon.titan-text-express-v1", assemble_titan, {"inputText": "[[tokens:5]]"}),
    ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-8b-instruct-v1:0", assemble_llama, {"prompt": "x"}),
]


def stream(model, body):
    response = client.invoke_model_with_response_stream(
        modelId=model, body=json.dumps(body), contentType="application/json")
    check(response["contentType"] == "application/json", "X-Amzn-Bedrock-Content-Type is missing")
    check(len(response["ResponseMetadata"]["RequestId"]) == 36, "x-amzn-RequestId is missing")
    return response["body"]


for model, assemble, body in CASES:
    chunks = [json.loads(event["chunk"]["bytes"]) for event in stream(model, body)]
    check("amazon-bedrock-invocationMetrics" in chunks[-1], f"{model}: no metrics")
    response = client.invoke_model(modelId=model, body=json.dumps(body), contentType="application/json")
    whole = json.loads(response["body"].read())
    got = assemble(chunks)
    check(got == whole, f"{model}: assembled\n{got}\ninvoked\n{whole}")
    headers = response["ResponseMetadata"]["HTTPHeaders"]
    check(int(headers["x-amzn-bedrock-output-token-count"]) > 0, f"{model}: no token count in the headers")

# Every modelled error before the stream, with the status of the model.
BEFORE = {
    "ThrottlingException": 429, "ModelNotReadyException": 429, "ServiceQuotaExceededException": 400,
    "ModelTimeoutException": 408, "ModelErrorException": 424, "ModelStreamErrorException": 424,
    "InternalServerException": 500, "ServiceUnavailableException": 503, "ValidationException": 400,
    "AccessDeniedException": 403, "ResourceNotFoundException": 404,
}
operation = client.meta.service_model.operation_model("InvokeModelWithResponseStream")
modelled = {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in operation.error_shapes}
check(modelled == BEFORE, f"the model knows {modelled}")
for name, status in BEFORE.items():
    try:
        stream(CLAUDE, claude(f"[[fault:{name}]]"))
        check(False, f"{name} before the stream: nothing was raised")
    except getattr(client.exceptions, name) as error:
        check(error.response["ResponseMetadata"]["HTTPStatusCode"] == status, f"{name}: {error.response}")
        check(error.response["Error"]["Message"] != "", f"{name}: no message")
        if name == "ModelErrorException":
            check(error.response["originalStatusCode"] == 500, f"{name}: {error.response}")
for name in ["ExpiredTokenException", "UnrecognizedClientException"]:
    try:
        stream(CLAUDE, claude(f"[[fault:{name}]]"))
        check(False, f"{name}: nothing was raised")
    except ClientError as error:
        check(error.response["Error"]["Code"] == name, f"{name}: {error.response}")

# Every modelled exception within the stream, after three chunks.
union = operation.get_event_stream_output()
inside = [name for name, shape in union.members.items() if shape.metadata.get("exception")]
check(len(inside) == 6, f"the model knows {inside}")
for name in inside:
    chunks = 0
    try:
        for _ in stream(CLAUDE, claude(f"[[fault:{name}@3]]")):
            chunks += 1
        check(False, f"{name} in the stream: nothing was raised")
    except EventStreamError as error:
        check(error.response["Error"]["Code"] == name and chunks == 3, f"{name}: {chunks} chunks, {error.response}")
        check(error.response["Error"]["Message"] != "", f"{name}: no message")
try:
    for _ in stream(CLAUDE, claude("[[fault:error-frame@1]]")):
        pass
    check(False, "error-frame: nothing was raised")
except EventStreamError as error:
    check(error.response["Error"]["Code"] == "InternalError", f"error-frame: {error.response}")

# A chunk of every kind that must do no harm.
for kind in ["unknown-headers", "unknown-event", "big-pad"]:
    events = list(stream(CLAUDE, claude(f"[[fault:{kind}@2]]")))
    check(len(events) > 5, f"{kind}: {len(events)} events")


# Converse and ConverseStream, for models of every family: what is streamed is what is answered whole.
def assemble_converse(events):
    blocks, stop, metadata = {}, None, None
    for e in events:
        kind, body = next(iter(e.items()))
        block = blocks.setdefault(body["contentBlockIndex"], {}) if "contentBlockIndex" in body else None
        if kind == "contentBlockStart":
            block["toolUse"] = {**body["start"]["toolUse"], "input": ""}
        elif kind == "contentBlockDelta":
            delta = body["delta"]
            if "text" in delta:
                block["text"] = block.get("text", "") + delta["text"]
            elif "toolUse" in delta:
                block["toolUse"]["input"] += delta["toolUse"]["input"]
            elif "citation" in delta:
                block.setdefault("citations", []).append(delta["citation"])
            elif "redactedContent" in delta["reasoningContent"]:
                block["reasoningContent"] = delta["reasoningContent"]
            else:
                inner = block.setdefault("reasoningContent", {"reasoningText": {}})["reasoningText"]
                for key, piece in delta["reasoningContent"].items():
                    inner[key] = inner.get(key, "") + piece
        elif kind == "messageStop":
            stop = body["stopReason"]
        elif kind == "metadata":
            metadata = body
    content = []
    for _, block in sorted(blocks.items()):
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
        if "citations" in block:
            block = {"citationsContent": {"content": [{"text": block["text"]}], "citations": block["citations"]}}
        content.append(block)
    return {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": stop, **metadata}


def converse_request(prompt, **more):
    return {"messages": [{"role": "user", "content": [{"text": prompt}]}], **more}


CONVERSE_TOOLS = {"tools": [{"toolSpec": {"name": "lookup", "inputSchema": {"json": {"type": "object"}}}},
                            {"cachePoint": {"type": "default"}}], "toolChoice": {"any": {}}}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
CONVERSE = [
    converse_request("Grüße, 世界 🌍", system=[{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
                     inferenceConfig={"maxTokens": 200, "temperature": 0.5, "stopSequences": ["zzz"]}),
    converse_request("[[tool:2]]", toolConfig=CONVERSE_TOOLS),
    converse_request("[[tool:empty]]", toolConfig=CONVERSE_TOOLS),
    converse_request("think [[redacted]]", additionalModelRequestFields=THINKING),
    converse_request("[[cite]][[cache:read=900,write=100]]"),
    converse_request("[[guardrail:block]]", performanceConfig={"latency": "optimized"}, serviceTier={"type": "flex"}),
    converse_request("[[tokens:5]]", requestMetadata={"team": "x"}),
    converse_request("short", inferenceConfig={"maxTokens": 3}),
]
for model in [CLAUDE, "us.amazon.nova-pro-v1:0", "meta.llama3-8b-instruct-v1:0", "mistral.mistral-large-2407-v1:0", "openai.gpt-oss-20b-1:0"]:
    for request in CONVERSE:
        got = assemble_converse(client.converse_stream(modelId=model, **request)["stream"])
        whole = client.converse(modelId=model, **request)
        del whole["ResponseMetadata"]
        for answer in (got, whole):
            check(answer.pop("metrics")["latencyMs"] >= 0, f"{model}: no latency")
        check(got == whole, f"{model}: streamed\n{got}\nanswered\n{whole}")
check("cachePoint" in json.dumps(CONVERSE), "no cache point was sent")
operation = client.meta.service_model.operation_model("ConverseStream")
union = operation.get_event_stream_output()
inside = [name for name, shape in union.members.items() if shape.metadata.get("exception")]
check(len(inside) == 5, f"the model knows {inside}")
for name in inside:
    events = 0
    try:
        for _ in client.converse_stream(modelId=CLAUDE, **converse_request(f"[[fault:{name}@3]]"))["stream"]:
            events += 1
        check(False, f"{name} in a stream of Converse: nothing was raised")
    except EventStreamError as error:
        check(error.response["Error"]["Code"] == name and events == 3, f"{name}: {events} events, {error.response}")
for name, status in {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in operation.error_shapes}.items():
    try:
        client.converse_stream(modelId=CLAUDE, **converse_request(f"[[fault:{name}]]"))
        check(False, f"{name} before a stream of Converse: nothing was raised")
    except getattr(client.exceptions, name) as error:
        check(error.response["ResponseMetadata"]["HTTPStatusCode"] == status, f"{name}: {error.response}")

print(f"{checks} checks passed, boto3 {boto3.__version__}")
