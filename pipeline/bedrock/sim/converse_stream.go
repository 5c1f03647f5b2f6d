package sim

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// This file writes the events of ConverseStream, and what only a call has.

func streamConverse(p *plan, emit func(event) bool) {
	buf := make([]byte, 0, 512)
	index := 0
	send := func(kind string, tokens int, content bool) bool {
		return emit(event{kind: kind, payload: buf, tokens: tokens, content: content})
	}
	delta := func(member string, piece []byte, tail string, tokens int) bool {
		buf = append(appendInt(append(buf[:0], `{"contentBlockIndex":`...), index), `,"delta":{`...)
		buf = append(appendQuoted(append(buf, member...), piece), tail...)
		buf = append(buf, `}}`...)
		return send("contentBlockDelta", tokens, len(piece) > 0)
	}
	end := func() bool {
		buf = append(appendInt(append(buf[:0], `{"contentBlockIndex":`...), index), '}')
		index++
		return send("contentBlockStop", 0, false)
	}

	buf = append(buf, `{"role":"assistant"}`...)
	if !send("messageStart", 0, false) {
		return
	}
	if p.guardrail == guardrailBlock && (!delta(`"text":`, []byte(blockedText), "", 0) || !end()) {
		return
	}
	for i := range p.blocks {
		b := &p.blocks[i]
		ok := true
		pieces := func(member, tail string) bool {
			return b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool {
				return len(piece) == 0 || delta(member, piece, tail, tokens)
			})
		}
		switch b.kind {
		case blockText:
			if len(b.text.bytes) == 0 {
				continue
			}
			ok = pieces(`"text":`, "")
			if ok && b.cite {
				buf = append(appendInt(append(buf[:0], `{"contentBlockIndex":`...), index), `,"delta":{"citation":`+converseCitation+`}}`...)
				ok = send("contentBlockDelta", 0, false)
			}
		case blockThinking:
			ok = pieces(`"reasoningContent":{"text":`, "}") && delta(`"reasoningContent":{"signature":`, []byte(b.signature()), "}", 0)
		case blockRedacted:
			ok = delta(`"reasoningContent":{"redactedContent":`, b.redactedContent(), "}", 0)
		case blockTool:
			buf = append(appendInt(append(buf[:0], `{"contentBlockIndex":`...), index), `,"start":{"toolUse":`...)
			buf = append(b.appendConverseTool(buf), `}}}`...)
			ok = send("contentBlockStart", 0, false) && pieces(`"toolUse":{"input":`, "}")
		}
		if !ok || !end() {
			return
		}
	}
	buf = append(appendQuoted(append(buf[:0], `{"stopReason":`...), p.converseStop()), '}')
	if !send("messageStop", 0, false) {
		return
	}
	buf = append(p.appendConverseUsage(append(buf[:0], `{"usage":`...)), '}')
	emit(event{kind: "metadata", payload: buf, metrics: true})
}

// appendConverseUsage writes the counts. Recordings of streams have those of the cache under two names.
func (p *plan) appendConverseUsage(dst []byte) []byte {
	u := p.usage
	dst = appendInt(append(dst, `{"inputTokens":`...), u.InputTokens)
	dst = appendInt(append(dst, `,"outputTokens":`...), u.OutputTokens)
	dst = appendInt(append(dst, `,"totalTokens":`...), u.InputTokens+u.OutputTokens+u.CacheReadInputTokens+u.CacheWriteInputTokens)
	if u.CacheReadInputTokens > 0 || u.CacheWriteInputTokens > 0 {
		for _, ending := range []string{"", "Count"} {
			dst = appendInt(append(dst, `,"cacheReadInputToken`+plural(ending)+`":`...), u.CacheReadInputTokens)
			dst = appendInt(append(dst, `,"cacheWriteInputToken`+plural(ending)+`":`...), u.CacheWriteInputTokens)
		}
	}
	return append(dst, '}')
}

func plural(ending string) string {
	if ending == "" {
		return "s"
	}
	return ending
}

// appendConverseTail writes what only a call has, at the end of an object that was reopened, and closes it.
func (a *attempt) appendConverseTail(dst []byte, latencyMs int64) []byte {
	p := a.plan
	dst = append(strconv.AppendInt(append(dst, `,"metrics":{"latencyMs":`...), latencyMs, 10), '}')
	if p.guardrail != guardrailNone {
		dst = append(p.appendTrace(append(dst, `,"trace":`...)), '}')
	}
	if p.performance != nil {
		dst = append(append(dst, `,"performanceConfig":`...), compact(p.performance)...)
	}
	if p.tier != nil {
		dst = append(append(dst, `,"serviceTier":`...), compact(p.tier)...)
	}
	return append(dst, '}')
}

func compact(raw []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return []byte("null")
	}
	return b.Bytes()
}
