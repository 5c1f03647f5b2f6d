package bedrock

import (
	"fmt"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/dialect"
)

// MaxBody is the longest request body that the service accepts.
const MaxBody = 25_000_000

// Encode makes the request of a record. The body of a record whose Input is in the model's own format is that input itself,
// neither copied nor altered.
func (m *Model) Encode(rec *pipeline.Record) (*pipeline.Request, error) {
	req := &pipeline.Request{Record: rec, Body: rec.Input}
	if body, fault := m.body(rec); fault != nil {
		return nil, fault
	} else if body != nil {
		req.Body = body
	}
	if m.api == ConverseStream {
		req.Body = m.tune(req.Body)
	}
	if len(req.Body) > MaxBody {
		return nil, &pipeline.Fault{
			Type:    pipeline.TypeRecordTooLarge,
			Message: fmt.Sprintf("the request is %d bytes, and Bedrock takes at most %d: split the record or make its images smaller", len(req.Body), MaxBody),
		}
	}
	w, ok := weigh(req.Body, m.family)
	if !ok {
		return nil, invalid("modelInput must be a JSON object: the body that " + m.operation() + " takes")
	}
	req.InputTokens, req.MaxTokens = w.tokens(), w.limit
	if w.limit < 0 {
		req.MaxTokens, req.DefaultLimit = m.family.defaultLimit, true
		m.warnNoLimit()
	}
	return req, nil
}

// body is what has to be made of a record, nil where its Input goes as it is.
func (m *Model) body(rec *pipeline.Record) ([]byte, *pipeline.Fault) {
	if rec.Input == nil {
		return m.encodePrompt(rec.Prompt)
	}
	d := rec.Dialect
	switch {
	case d == pipeline.Invoke && (m.family.speaks == pipeline.Converse || !dialect.LooksConverse(rec.Input)):
		return nil, nil
	case d == pipeline.Invoke:
		d = pipeline.Converse
	case d == m.family.speaks:
		return m.family.native(rec.Input)
	case d == pipeline.Chat && m.family.speaks == pipeline.OpenAI && dialect.PassesAsOpenAI(rec.Input):
		return m.family.native(rec.Input)
	}
	prompt, fault := dialect.Read(d, rec.Input)
	if fault != nil {
		return nil, fault
	}
	m.warn("dialect "+string(d), fmt.Sprintf("%s: translated for the %s family; what cannot be said there becomes an error row",
		dialect.Describe(d), m.family.name))
	return m.encodePrompt(prompt)
}

// native is the body of a request in the dialect that the family speaks.
func (f *family) native(raw []byte) ([]byte, *pipeline.Fault) {
	body, fault := dialect.Native(f.speaks, raw)
	if fault == nil && f.speaks == pipeline.OpenAI && !slices.Contains(f.limits, maxCompletionTokens) {
		return dialect.RenameLimit(body, maxCompletionTokens, f.limitKey)
	}
	return body, fault
}

// maxCompletionTokens is what OpenAI calls the answer's limit since its models reason. Who knows the older name only would
// pass over it.
const maxCompletionTokens = "max_completion_tokens"

func (m *Model) warnNoLimit() {
	if m.family.limitRequired {
		m.warn("limit", fmt.Sprintf("modelInput without %s: the service refuses such a request; %d tokens are reserved for its answer",
			m.family.limitKey, m.family.defaultLimit))
		return
	}
	if m.api == ConverseStream {
		m.warnCost("limit", fmt.Sprintf("modelInput without %s: the model may answer as long as it can; %d tokens are reserved for its answer",
			m.family.limitKey, m.family.defaultLimit))
		return
	}
	m.warnCost("limit", fmt.Sprintf("modelInput without %s: the family's default of %d tokens is reserved for its answer",
		m.family.limitKey, m.family.defaultLimit))
}

func (m *Model) encodePrompt(p *pipeline.Prompt) ([]byte, *pipeline.Fault) {
	if p == nil || p.Messages == nil && strings.TrimSpace(p.Text) == "" {
		return nil, invalid("the prompt is empty: give it some text")
	}
	if more := p.Beyond(m.family.takes); more != "" {
		return nil, invalid(fmt.Sprintf("%s: the %s family has no counterpart for it: leave it out, or give modelInput", more, m.family.name))
	}
	limit := p.MaxTokens
	if limit == 0 {
		limit = m.maxTokens()
	}
	body, fault := m.family.encode(p, limit, foundationID(m.opts.Foundation))
	if m.api == Invoke && fault == nil {
		body = withoutStream(body)
	}
	return body, fault
}

// maxTokens is the answer limit of a short-form record that sets none.
func (m *Model) maxTokens() int64 {
	limit := m.opts.MaxTokens
	if limit == 0 {
		limit = defaultMaxTokens
	}
	// A model of the family itself has the family's bound; one that is only said to be like it may not.
	if most := m.family.maxLimit; most > 0 && limit > most && !m.familyNamed {
		m.warn("max", fmt.Sprintf("%s answer with at most %d tokens: %s is %d instead of %d",
			m.limitedName(), most, m.family.limitKey, most, limit))
		limit = most
	}
	return limit
}

func invalid(message string) *pipeline.Fault {
	return &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Message: message}
}

// limitedName names the models that have a limit to the user.
func (m *Model) limitedName() string {
	if m.api == ConverseStream {
		return "models like " + m.opts.Foundation
	}
	return m.family.name + " models"
}

// operation is what a request's body is the body of.
func (m *Model) operation() string {
	if m.api == ConverseStream {
		return "Converse"
	}
	return "InvokeModel"
}
