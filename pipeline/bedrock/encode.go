package bedrock

import (
	"fmt"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// MaxBody is the longest request body that the service accepts.
const MaxBody = 25_000_000

// Encode makes the request of a record. The body of a record that has an Input is that input itself,
// neither copied nor altered.
func (m *Model) Encode(rec *pipeline.Record) (*pipeline.Request, error) {
	req := &pipeline.Request{Record: rec, Body: rec.Input}
	if rec.Input == nil {
		body, fault := m.encodePrompt(rec.Prompt)
		if fault != nil {
			return nil, fault
		}
		req.Body = body
	}
	if len(req.Body) > MaxBody {
		return nil, &pipeline.Fault{
			Type:    pipeline.TypeRecordTooLarge,
			Message: fmt.Sprintf("the request is %d bytes, and Bedrock takes at most %d: split the record or make its images smaller", len(req.Body), MaxBody),
		}
	}
	w, ok := weigh(req.Body, m.family)
	if !ok {
		return nil, invalid("modelInput must be a JSON object: the body that InvokeModel takes")
	}
	req.InputTokens, req.MaxTokens = w.tokens(), w.limit
	if w.limit < 0 {
		req.MaxTokens, req.DefaultLimit = m.family.defaultLimit, true
		m.warnNoLimit()
	}
	return req, nil
}

func (m *Model) warnNoLimit() {
	if m.family.limitRequired {
		m.warn("limit", fmt.Sprintf("modelInput without %s: the service refuses such a request; %d tokens are reserved for its answer",
			m.family.limitKey, m.family.defaultLimit))
		return
	}
	m.warn("limit", fmt.Sprintf("modelInput without %s: the family's default of %d tokens is reserved for its answer",
		m.family.limitKey, m.family.defaultLimit))
}

func (m *Model) encodePrompt(p *pipeline.Prompt) ([]byte, *pipeline.Fault) {
	if p == nil || strings.TrimSpace(p.Text) == "" {
		return nil, invalid("the prompt is empty: give it some text")
	}
	limit := p.MaxTokens
	if limit == 0 {
		limit = m.maxTokens()
	}
	return m.family.encode(p, limit, foundationID(m.opts.ModelID))
}

// maxTokens is the answer limit of a short-form record that sets none.
func (m *Model) maxTokens() int64 {
	limit := m.opts.MaxTokens
	if limit == 0 {
		limit = defaultMaxTokens
	}
	// A model of the family itself has the family's bound; one that is only said to be like it may not.
	if most := m.family.maxLimit; most > 0 && limit > most && !m.familyNamed {
		m.warn("max", fmt.Sprintf("%s models answer with at most %d tokens: %s is %d instead of %d",
			m.family.name, most, m.family.limitKey, most, limit))
		limit = most
	}
	return limit
}

func invalid(message string) *pipeline.Fault {
	return &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Message: message}
}
