package sim

import (
	"encoding/json"
)

// This file reads requests of Converse.

type converseRequest struct {
	Messages []struct {
		Role    string          `json:"role"`
		Content []converseBlock `json:"content"`
	} `json:"messages"`
	System []converseBlock `json:"system"`
	Config struct {
		MaxTokens *int64   `json:"maxTokens"`
		Stops     []string `json:"stopSequences"`
	} `json:"inferenceConfig"`
	Tools     converseTools `json:"toolConfig"`
	Guardrail struct {
		ID    string `json:"guardrailIdentifier"`
		Trace string `json:"trace"`
	} `json:"guardrailConfig"`
	More struct { // what Claude, Nova and OpenAI call it
		Thinking struct {
			Type string `json:"type"`
		} `json:"thinking"`
		Reasoning struct {
			Type string `json:"type"`
		} `json:"reasoningConfig"`
		Effort string `json:"reasoning_effort"`
	} `json:"additionalModelRequestFields"`
	Performance json.RawMessage `json:"performanceConfig"`
	Tier        json.RawMessage `json:"serviceTier"`
}

// converseTools are the tools of a request, which Nova's own format has in the same form.
type converseTools struct {
	Tools []struct {
		Spec *struct {
			Name string `json:"name"`
		} `json:"toolSpec"`
	} `json:"tools"`
	Choice struct {
		Any  json.RawMessage `json:"any"`
		Tool *struct {
			Name string `json:"name"`
		} `json:"tool"`
	} `json:"toolChoice"`
}

// into tells a request its tools, and whether one of them has to be used.
func (t *converseTools) into(req *request) {
	for _, tool := range t.Tools {
		if tool.Spec != nil { // and not a cache point
			req.tools = append(req.tools, tool.Spec.Name)
		}
	}
	if one := t.Choice.Tool; one != nil {
		req.tools, req.toolForced = []string{one.Name}, true
	}
	req.toolForced = req.toolForced || t.Choice.Any != nil
}

// A converseBlock is a content block; exactly one of its members is there.
type converseBlock struct {
	Text       *string         `json:"text"`
	CachePoint json.RawMessage `json:"cachePoint"`
	Guard      struct {
		Text struct {
			Text string `json:"text"`
		} `json:"text"`
	} `json:"guardContent"`
	ToolUse struct {
		Input json.RawMessage `json:"input"`
	} `json:"toolUse"`
	ToolResult struct {
		Content []converseBlock `json:"content"`
	} `json:"toolResult"`
	JSON      json.RawMessage `json:"json"`
	Reasoning json.RawMessage `json:"reasoningContent"`
	Image     json.RawMessage `json:"image"`
	Document  json.RawMessage `json:"document"`
	Video     json.RawMessage `json:"video"`
	Audio     json.RawMessage `json:"audio"`
}

// size counts a block's bytes of text, and what of it is media.
func (b *converseBlock) size() (text int, media int64) {
	if b.Text != nil {
		text = len(*b.Text)
	}
	text += len(b.Guard.Text.Text) + len(b.ToolUse.Input) + len(b.JSON) + len(b.Reasoning)
	for _, m := range []json.RawMessage{b.Image, b.Document, b.Video, b.Audio} {
		if m != nil {
			media++
		}
	}
	for i := range b.ToolResult.Content {
		t, m := b.ToolResult.Content[i].size()
		text, media = text+t, media+m
	}
	return text, media
}

func parseConverse(body []byte) (*request, *Error) {
	var in converseRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, &Error{Status: 400, Type: "SerializationException", Message: "The request could not be read: " + err.Error()}
	}
	switch {
	case len(in.Messages) == 0:
		return nil, validation("1 validation error detected: Value at 'messages' failed to satisfy constraint: Member must not be null")
	case in.Messages[0].Role != "user":
		return nil, validation("A conversation must start with a user message. Try again with a conversation that starts with a user message.")
	case in.Config.MaxTokens != nil && *in.Config.MaxTokens < 1:
		return nil, validation("1 validation error detected: Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value greater than or equal to 1")
	}
	size, media := 0, int64(0)
	count := func(blocks []converseBlock) {
		for i := range blocks {
			t, m := blocks[i].size()
			size, media = size+t, media+m
		}
	}
	count(in.System)
	for _, m := range in.Messages {
		if m.Role != "user" && m.Role != "assistant" {
			return nil, validation("1 validation error detected: Value '%s' at 'messages.role' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant]", m.Role)
		}
		if len(m.Content) == 0 {
			return nil, validation("The content field in the Message object is empty. Add a ContentBlock object to the content field and try again.")
		}
		count(m.Content)
	}
	req := &request{
		inputTokens: countTokens(size) + media*mediaTokens, maxTokens: converseMaxTokens, stops: in.Config.Stops,
		thinking:    in.More.Thinking.Type == "enabled" || in.More.Thinking.Type == "adaptive" || in.More.Reasoning.Type == "enabled" || in.More.Effort != "",
		performance: in.Performance, tier: in.Tier,
	}
	if in.Config.MaxTokens != nil {
		req.maxTokens = *in.Config.MaxTokens
	}
	in.Tools.into(req)
	return req, nil
}
