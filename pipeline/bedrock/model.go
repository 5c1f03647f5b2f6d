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

// New makes a model from the options, the environment and the shared configuration, in that order of
// precedence, as the AWS CLI does. It sends nothing; credentials are resolved by [Model.Prepare].
// Its errors are one line, and have a method Hint where there is something to do.
func New(ctx context.Context, opts Options) (*Model, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	f, err := resolveFamily(opts.ModelID, opts.Family)
	if err != nil {
		return nil, err
	}
	if opts.Concurrency == 0 {
		opts.Concurrency = defaultConcurrency
	}
	m := &Model{opts: opts, family: f.of(foundationID(opts.ModelID)), familyNamed: opts.Family != ""}
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

// Family is the name of the model's family.
func (m *Model) Family() string { return m.family.name }

// Region is the region that calls go to.
func (m *Model) Region() string { return m.region }

// Connections is how many connections were opened so far.
func (m *Model) Connections() int64 { return m.http.dials.Load() }

// Close closes idle connections. Streams that are open go on.
func (m *Model) Close() { m.http.tr.CloseIdleConnections() }

// warn tells the user something once for each subject.
func (m *Model) warn(subject, message string) {
	if m.opts.Warn == nil {
		return
	}
	if _, before := m.warned.LoadOrStore(subject, true); !before {
		m.opts.Warn(message)
	}
}
