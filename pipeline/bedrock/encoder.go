package bedrock

import "github.com/batchrun/batchrun/pipeline"

// An Encoder makes the bodies of requests as a [Model] would, without being able to send any. It may be used concurrently.
type Encoder struct{ model *Model }

// NewEncoder makes an encoder. Of the options only ModelID, Family, MaxTokens and Warn count.
func NewEncoder(opts Options) (*Encoder, error) {
	f, err := resolveFamily(opts.ModelID, opts.Family)
	if err != nil {
		return nil, err
	}
	return &Encoder{&Model{opts: opts, family: f.of(foundationID(opts.ModelID)), familyNamed: opts.Family != ""}}, nil
}

// Encode is what [Model.Encode] does.
func (e *Encoder) Encode(rec *pipeline.Record) (*pipeline.Request, error) { return e.model.Encode(rec) }
