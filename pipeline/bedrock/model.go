package bedrock

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"

	"github.com/batchrun/batchrun/pipeline"
)

// A Model is one model of Bedrock. All its methods may be called concurrently.
type Model struct {
	opts        Options
	api         string
	tuning      object // what is added to a Converse request
	family      *family
	familyNamed bool // by the user, not told by the model id
	region      string

	client  *bedrockruntime.Client
	http    *transport
	creds   *credentialSource // nil with a bearer token
	bearer  string
	streams sync.Pool // of *stream

	warned sync.Map // what was warned of, by subject
}

var _ pipeline.Model = (*Model)(nil)

// familyFor is the format that a model is spoken to in.
func familyFor(o *Options) (*family, error) {
	if o.API == ConverseStream {
		return converseFor(o.Foundation), nil
	}
	return resolveFamily(o.Foundation, o.Family)
}

// New makes a model from the options, the environment and the shared configuration, in that order of
// precedence, as the AWS CLI does. It sends nothing; credentials are resolved by [Model.Prepare].
// Its errors are one line, and have a method Hint where there is something to do.
func New(ctx context.Context, opts Options) (*Model, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Foundation == "" {
		opts.Foundation = opts.ModelID
	}
	named := opts.API != ""
	if !named {
		opts.API = APIOf(opts.Foundation)
	}
	f, err := familyFor(&opts)
	if err != nil {
		return nil, err
	}
	if opts.Concurrency == 0 {
		opts.Concurrency = defaultConcurrency
	}
	m := &Model{opts: opts, api: opts.API, family: f.of(foundationID(opts.Foundation)), familyNamed: opts.Family != ""}
	m.opts.Tuning.requestMetadataJSON = nil
	if len(opts.Tuning.RequestMetadata) > 0 {
		m.opts.Tuning.requestMetadataJSON = opts.Tuning.requestMetadata()
	}
	if m.api == ConverseStream {
		m.tuning = opts.Tuning.converseMembers()
	}
	m.warnOfAPI(opts.API == APIOf(opts.Foundation) && !named)
	m.streams.New = func() any { return newStream() }
	if f == &generic && opts.Family == "" {
		m.warn("family", fmt.Sprintf("model %q is of no family that is known: its answers are read in whatever known format they come in; "+
			"--family says it where it is one of %s", opts.ModelID, strings.Join(Families(), ", ")))
	}
	if opts.IgnoreEnvironment {
		m.connectIsolated()
		return m, nil
	}
	if err := m.connect(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// ModelID is the model as it was named.
func (m *Model) ModelID() string { return m.opts.ModelID }

// Family is the name of the model's family; "converse" for [ConverseStream], which has one format for all.
func (m *Model) Family() string { return m.family.name }

// API is the operation that the model is called by, one of [APIs].
func (m *Model) API() string { return m.api }

// Foundation is the id of the foundation model behind the model, or the model's own where nothing else is known of it.
func (m *Model) Foundation() string { return m.opts.Foundation }

// Region is the region that calls go to.
func (m *Model) Region() string { return m.region }

// Connections is how many connections were opened so far.
func (m *Model) Connections() int64 { return m.http.dials.Load() }

// Close closes idle connections. Streams that are open go on.
func (m *Model) Close() { m.http.tr.CloseIdleConnections() }

// warn tells the user something once for each subject.
func (m *Model) warn(subject, message string) { m.tell(m.opts.Warn, subject, message) }

// warnCost is warn for what may cost money.
func (m *Model) warnCost(subject, message string) {
	if m.opts.WarnCost == nil {
		m.warn(subject, message)
		return
	}
	m.tell(m.opts.WarnCost, subject, message)
}

func (m *Model) tell(whom func(string), subject, message string) {
	if whom == nil {
		return
	}
	if _, before := m.warned.LoadOrStore(subject, true); !before {
		whom(message)
	}
}
