package bedrock

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

const (
	// imageTokensMost is more than any model here makes of one image: a Qwen-VL takes up to 16,384, in patches of 28 by 28
	// pixels; Claude, Nova and Llama take a few thousand (imageTokens is what is usual).
	imageTokensMost = 16_384
	// frameTokens are for what the service adds to a request that has no place in its body: the template of the model, and the system
	// prompt that some templates begin with, gpt-oss's of a hundred tokens being the longest that is published
	// (https://cookbook.openai.com/articles/openai-harmony).
	frameTokens = 128
	// unknownFrameTokens are for models of which no template is published, and for Cohere's, whose preamble is long.
	unknownFrameTokens = 1024
	// toolFrameTokens are for the system prompt that tools, and Cohere's documents, bring with them. Anthropic's, the longest that is
	// published, has 346 tokens, and up to 735 more for each of its own tools
	// (https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/overview#pricing).
	toolFrameTokens = 4096
)

// Most is how many tokens a call with a request is billed at most, as input and as output. It is an upper bound, unlike the estimates
// of the request itself, which are what a call is likely to take of a quota.
//
// Input is the service's own count where there is one. Otherwise it is a token for each byte of the body, with its quotes and
// keys: tokens of byte-level encodings stand for a byte or more, and an escape is longer than what it stands for. Of an image the
// pixels count and not the bytes, so it has a figure of its own; of a document, a sound or a video nothing bounds the tokens but the
// count. Output is the limit that the body sets, for each answer that it asks for; where it sets none, the model's own.
//
// Its errors are one line with a hint: nobody can tell.
func (m *Model) Most(req *pipeline.Request) (input, output int64, err error) {
	w, _ := weigh(req.Body, m.family)
	body := parseObject(req.Body)
	if input, err = m.mostInput(req, &w, body); err != nil {
		return 0, 0, err
	}
	if output, err = m.mostOutput(body); err != nil {
		return 0, 0, err
	}
	return input, output, nil
}

func (m *Model) mostInput(req *pipeline.Request, w *weight, body object) (int64, error) {
	if req.Counted {
		return req.InputTokens, nil
	}
	if resourceOf(m.opts.ModelID) == "prompt" {
		return 0, &ConfigError{
			Message:  "the text of a prompt that is kept in Bedrock is not known: no bound on spending can be kept",
			HintText: "name the model itself and send the text, or go on without --max-cost and --max-tokens-total",
		}
	}
	if w.opaque || elsewhere(req.Body) {
		return 0, &ConfigError{
			Message:  "what its document, sound or video is counted as is not known beforehand, so no bound on spending can be kept",
			HintText: "give --count-tokens, where the model has it, or send such records without --max-cost and --max-tokens-total",
		}
	}
	tokens := int64(len(req.Body)) - w.encoded + imageTokensMost*(w.images+smallImages(req.Body)) + frameTokens
	if m.family.guessed || m.family.name == commandR.name {
		tokens += unknownFrameTokens - frameTokens
	}
	for _, m := range body {
		if key := string(m.key); strings.HasPrefix(key, "tool") || key == "anthropic_beta" || key == "documents" {
			tokens += toolFrameTokens
			break
		}
	}
	return tokens, nil
}

// elsewhere reports whether some of the input is not in the body but in an object store.
func elsewhere(body []byte) bool {
	return bytes.Contains(body, []byte(`"s3Location"`)) || bytes.Contains(body, []byte(`"s3://`))
}

// smallImages counts the images that are too short for weigh to tell them from text.
func smallImages(body []byte) (n int64) {
	for _, head := range []string{`"iVBO`, `"/9j/`, `"\/9j\/`, `"R0lG`, `"UklG`, `"data:image/`, `"data:image\/`} {
		for rest := body; ; n++ {
			i := bytes.Index(rest, []byte(head))
			if i < 0 {
				break
			}
			rest = rest[i+len(head):]
			if end := bytes.IndexByte(rest, '"'); end < 0 || end >= blobMin {
				n-- // weigh has counted it
			}
		}
	}
	return max(n, 0)
}

// Where a body asks for several answers, at the top or among what Converse passes on to the model.
var (
	answerKeys   = []string{"n", "num_generations", "numResults", "best_of"}
	passedLimits = []string{"max_tokens", "max_completion_tokens", "max_gen_len", "max_tokens_to_sample", "maxTokens"}
)

const passedOn = "additionalModelRequestFields"

func (m *Model) mostOutput(body object) (int64, error) {
	limit, said, err := m.saidLimit(body)
	if err != nil {
		return 0, err
	}
	if !said {
		if limit, err = m.unsaidLimit(); err != nil {
			return 0, err
		}
	}
	answers := int64(1)
	passed := parseObject(body.get(passedOn))
	for _, key := range answerKeys {
		for _, o := range []object{body, passed} {
			n, there, err := whole(key, o.get(key))
			if err != nil {
				return 0, err
			}
			if there {
				answers = max(answers, n)
			}
		}
	}
	if answers > 1<<20 || limit > 1<<40 {
		return 0, noCeiling(fmt.Sprintf("%d answers of up to %d tokens", answers, limit))
	}
	return limit * answers, nil
}

// saidLimit is the highest limit that a body sets for its answer, wherever it may stand.
func (m *Model) saidLimit(body object) (limit int64, said bool, err error) {
	take := func(path string, value []byte) {
		n, there, bad := whole(path, value)
		if bad != nil {
			err = bad
		}
		if there && n > 0 { // with 0 some models go on as if nothing had been said
			limit, said = max(limit, n), true
		}
	}
	for _, path := range m.family.limits {
		parent, child, nested := strings.Cut(path, ".")
		if nested {
			take(path, parseObject(body.get(parent)).get(child))
		} else {
			take(path, body.get(path))
		}
	}
	if m.api == ConverseStream {
		passed := parseObject(body.get(passedOn))
		for _, key := range passedLimits {
			take(passedOn+"."+key, passed.get(key))
		}
	}
	return limit, said, err
}

// unsaidLimit is what a model answers at most where nothing was said.
func (m *Model) unsaidLimit() (int64, error) {
	f := m.family
	known := f.limitRequired || f.defaultFor == nil && !m.familyNamed // what is refused costs nothing
	id := foundationID(m.opts.Foundation)
	for _, begin := range f.defaultFor {
		known = known || strings.HasPrefix(id, begin)
	}
	if !known {
		return 0, noCeiling(f.limitKey + " is not set, and what the model answers at most is not known")
	}
	return f.defaultLimit, nil
}

// whole reads a number of a body; there is false where the key is missing or null. What stands there and is no whole number may
// mean anything to the service.
func whole(key string, value []byte) (n int64, there bool, err error) {
	if len(value) == 0 || string(value) == "null" {
		return 0, false, nil
	}
	n, ok := integer(value)
	if !ok {
		return 0, false, noCeiling(key + " is not a whole number")
	}
	return n, true, nil
}

func noCeiling(why string) error {
	return &ConfigError{
		Message:  why + ": no bound on spending can be kept",
		HintText: "set the limit in the record, or go on without --max-cost and --max-tokens-total",
	}
}
