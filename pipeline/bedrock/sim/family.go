package sim

import (
	"strings"
)

// A family is one request and response format. Each has a file of its own and a row in families.
type family struct {
	name string
	// prefixes of the model ids that belong to it, without region prefix.
	prefixes []string
	// parse reads and checks a request as the service does.
	parse func(body []byte) (*request, *Error)
	// stream yields the chunks of the plan, in order; each ends with '}' and carries no metrics.
	// It stops when emit says so.
	stream func(p *plan, emit func(event) bool)
	// body is what InvokeModel returns for the plan.
	body func(p *plan) []byte
	// blocked is the one chunk of an input that a guardrail blocked.
	blocked func(p *plan) []byte
	// reasons says that answers may hold thinking blocks.
	reasons bool
	// stops are the family's own words for how an answer ended.
	stops map[stop]string
	// variant is the other format that a request is in, nil for none, where a model takes more than one.
	variant func(body []byte) *family
}

// families is the table. Order matters where prefixes overlap.
var families = []*family{
	&claude, &claudeText, &nova, &titan, &llama,
	&mistralText, &mistral7B, &mistral, &command, &commandR, &jamba, &j2,
	&deepseekR1, &deepseek, &openai, &qwen, &chat, &writerText, &writer, &importedText, &imported,
}

// A request is what the simulator needs to know of a request of any family.
type request struct {
	inputTokens int64
	maxTokens   int64 // what the service reserves: the request's limit or the family's default
	stops       []string
	thinking    bool
	tools       []string // names of the tools offered
	toolForced  bool
	streams     bool   // Cohere Command: the request says that it streams
	prompt      string // where the answer repeats it

	performance, tier []byte // of a Converse request, as they stand in it
}

// An event is one chunk on its way to the client. The payload is valid until emit returns.
type event struct {
	kind    string // the event's type where it is one of Converse; "" for a chunk
	payload []byte
	tokens  int  // output tokens that it stands for
	content bool // carries content of any kind
	metrics bool // gets the invocation metrics: the family's terminal event
	bare    bool // is no object, and gets nothing of Bedrock's own
}

// A stop is how an answer ended, in no family's words.
type stop uint8

const (
	stopEnd stop = iota
	stopLength
	stopSequence
	stopTool
	stopRefusal
)

// FamilyNames lists the families that are simulated.
func FamilyNames() []string {
	var names []string
	for _, f := range families {
		names = append(names, f.name)
	}
	return names
}

func familyByName(name string) (*family, bool) {
	for _, f := range families {
		if f.name == name {
			return f, true
		}
	}
	return nil, false
}

// familyOf finds the family of a model id, inference profile or ARN.
func (o *Options) familyOf(modelID string) (*family, bool) {
	if name, ok := o.Families[modelID]; ok {
		return familyByName(name)
	}
	modelID = o.behind(modelID)
	if strings.Contains(modelID, ":imported-model/") {
		return &imported, true
	}
	id := baseModel(modelID)
	for _, f := range families {
		for _, prefix := range f.prefixes {
			if strings.HasPrefix(id, prefix) {
				return f, true
			}
		}
	}
	return nil, false
}

// baseModel strips what stands before provider.name in a model id: the ARN of a foundation model
// or inference profile, and the region prefix.
func baseModel(modelID string) string {
	if strings.HasPrefix(modelID, "arn:") {
		for _, resource := range []string{":foundation-model/", ":inference-profile/"} {
			if _, id, ok := strings.Cut(modelID, resource); ok {
				modelID = id
			}
		}
	}
	prefix, rest, ok := strings.Cut(modelID, ".")
	if ok {
		switch prefix {
		case "us", "eu", "apac", "global", "us-gov", "jp", "au", "ca":
			return rest
		}
	}
	return modelID
}

// burndown is how many quota tokens an output token costs: the table of docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html.
func burndown(modelID string) float64 {
	id := baseModel(modelID)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(id, part) {
				return true
			}
		}
		return false
	}
	switch {
	case has("claude-opus-4-8", "claude-sonnet-4-8", "claude-haiku-4-8"):
		return 15
	case has("claude-opus-5", "claude-sonnet-5", "claude-fable-5", "gpt-5.6"):
		return 10
	case strings.HasPrefix(id, "anthropic."):
		return 5
	}
	return 1
}

// countTokens is the simulator's rule for input: four bytes a token, rounded up, at least one.
func countTokens(textBytes int) int64 { return int64(max(1, (textBytes+3)/4)) }

// mediaTokens is what an image or document costs.
const mediaTokens = 1500
