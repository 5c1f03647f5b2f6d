package bedrock

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/eventstream"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// A benchCase is a long answer of a family as the rehearsal server sends it, and both ways to read it.
type benchCase struct {
	name    string
	family  *family
	modelID string
	request string
	stream  []byte
	chunks  int
	plainly func(context.Context, *bedrockruntime.Client, string) (plainReading, error)
}

// benchCases has one for each family, and one for Converse. J2 has none: its whole answer is one chunk.
func benchCases(t testing.TB, tokens string) (cases []benchCase) {
	t.Helper()
	opts := simOptions(sim.Options{Seed: 5})
	s := startSim(t, opts)
	long := strings.NewReplacer("500", "2000", "300", "2000", `hello"}`, `hello","textGenerationConfig":{"maxTokenCount":2000}}`)
	for _, name := range append(Families(), converse.name) {
		if name == j2.name {
			continue
		}
		c := benchCase{name: name, modelID: familyCases[name].modelID}
		operation := "invoke-with-response-stream"
		if name == converse.name {
			c.modelID, operation, c.family = novaID, "converse-stream", converseFor(novaID)
			c.request = `{"messages":[{"role":"user","content":[{"text":"hello"}]}],"inferenceConfig":{"maxTokens":2000}}`
			c.plainly = converseBaseline
		} else {
			c.family, _ = resolveFamily("", name)
			c.request = long.Replace(simBodies(name, "hello")[0])
			loop := plainLoops[name]
			if loop == nil {
				loop = plainChat
			}
			c.plainly = func(ctx context.Context, client *bedrockruntime.Client, modelID string) (plainReading, error) {
				return readPlainly(ctx, client, modelID, loop)
			}
		}
		c.request = strings.Replace(c.request, "hello", "[[tokens:"+tokens+"]]", 1)
		c.stream = post(t, s, c.modelID, operation, c.request)
		frames := eventstream.NewDecoder(bytes.NewReader(c.stream))
		for _, err := frames.Next(); err == nil; _, err = frames.Next() {
			c.chunks++
		}
		cases = append(cases, c)
	}
	return cases
}

// read reads the stream as batchrun does, from the first frame to the whole answer.
func (c *benchCase) read(tb testing.TB) *pipeline.Response {
	r, fault := readAnswer(c.family, c.request, c.stream)
	if fault != nil {
		tb.Fatalf("%s: %+v", c.name, fault)
	}
	return r
}

// Both ways read the same answer from the streams of BenchmarkStream.
func TestTheBaselineReadsTheSameAnswer(t *testing.T) {
	for _, c := range benchCases(t, "50") {
		got := c.read(t)
		want, err := c.plainly(t.Context(), sdkClient(c.stream), c.modelID)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.chunks < 50 || got.Text == "" || got.Text != want.text || got.StopReason != want.stop ||
			got.Usage.InputTokens != want.input || got.Usage.OutputTokens != want.output || got.Usage.OutputTokens != 50 {
			t.Errorf("%s, %d chunks: %q %q %+v\nthe SDK's loop: %+v", c.name, c.chunks, got.Text, got.StopReason, got.Usage, want)
		}
	}
}

// BenchmarkStream reads a long answer of each family from memory: frames, checksums, base64, JSON, the assembled answer. Beside
// it is what the SDK's reader and encoding/json take for the same bytes. One op is one answer; chunks/op tells how many
// chunks it has. make bench-stream prints both as a table.
func BenchmarkStream(b *testing.B) {
	for _, c := range benchCases(b, "2000") {
		b.Run(c.name+"/batchrun", func(b *testing.B) {
			measure(b, &c, func() { c.read(b) })
		})
		b.Run(c.name+"/sdk", func(b *testing.B) {
			client := sdkClient(c.stream)
			measure(b, &c, func() {
				if _, err := c.plainly(b.Context(), client, c.modelID); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// measure runs the benchmark of one way to read, with its processor time: the SDK's reader works in goroutines of its own.
func measure(b *testing.B, c *benchCase, read func()) {
	b.ReportAllocs()
	b.SetBytes(int64(len(c.stream)))
	before, known := processorTime()
	for b.Loop() {
		read()
	}
	if after, _ := processorTime(); known {
		b.ReportMetric(float64(after-before)/float64(b.N), "cpu-ns/op")
	}
	b.ReportMetric(float64(c.chunks), "chunks/op")
}
