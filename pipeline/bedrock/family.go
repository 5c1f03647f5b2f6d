package bedrock

import (
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// A family is the set of models that share the format of their requests and streams.
// To add one: a file with its variable of this type, and a row in families. CONTRIBUTING.md has the steps.
type family struct {
	name string
	// ids are the beginnings of the model ids that belong to it, without a profile's prefix; notIDs
	// are exceptions among them.
	ids, notIDs []string
	// limits are the places where a body may say how long the answer may get, as a key or KEY.KEY.
	limits []string
	// limitKey names the first of them to the user.
	limitKey string
	// defaultLimit is reserved for a body that does not say, limitRequired that the service refuses such a body.
	defaultLimit  int64
	limitRequired bool
	// defaultFor are the beginnings of the ids of the models that are known to answer with at most defaultLimit tokens where a
	// body sets no limit; nil: all of the family. Of the others the default is a guess, which no bound on spending can stand on.
	defaultFor []string
	// maxLimit is the highest answer length that the service accepts from models of the family; 0 for none.
	maxLimit int64
	// models are those of the family that have limits of their own; the first whose beginning fits holds.
	models []modelLimits
	// speaks is the dialect whose bodies the family takes as they are but for model and stream; "" for one of its own.
	speaks pipeline.Dialect
	// takes is what encode can say beyond one text, a system prompt, a temperature and stop sequences. A prompt with
	// more becomes an error row before encode is called.
	takes pipeline.Features
	// encode makes the body of a short-form record, or of one in another dialect. See [pipeline.Prompt.Conversation]. The
	// model's id is "" where only the family is known.
	encode func(p *pipeline.Prompt, maxTokens int64, modelID string) ([]byte, *pipeline.Fault)
	// assemble returns a new assembler for the stream that answers a request's body.
	assemble func(request []byte) assembler
	// keys are top-level keys of a chunk by which a stream of the family is known where nothing else tells it; see sniffer.
	keys []string
	// guessed: the format is an assumption. An answer in which nothing was found, although the service
	// counted tokens for it, is then a fault and not an empty result.
	guessed bool
}

// modelLimits are the limits of the models whose ids begin so.
type modelLimits struct {
	ids                    string
	defaultLimit, maxLimit int64
}

// families has a row for each family. A model belongs to the first that its id fits.
var families = []*family{
	&claude, &nova, &llama, &titan,
	&claudeText,
	&mistralText, &mistral,
	&commandR, &command,
	&jamba, &j2,
	&deepseekR1, &deepseek,
	&openai, &qwen, &writer, &chat,
	&imported, &generic,
}

// of is the family with the limits of one of its models.
func (f *family) of(id string) *family {
	for _, m := range f.models {
		if strings.HasPrefix(id, m.ids) {
			own := *f
			own.defaultLimit, own.maxLimit = m.defaultLimit, m.maxLimit
			return &own
		}
	}
	return f
}

// signs are what an assembler found in a chunk.
type signs struct {
	content  bool // content of any kind
	text     bool // answer text
	terminal bool // the family's terminal test is met
}

// An assembler puts the chunks of one stream together to the body that InvokeModel would have returned.
type assembler interface {
	// chunk takes in one chunk. The scanner stands behind the opening brace; the chunk's bytes are used again afterwards.
	// Keys it does not know go to env. It changes nothing before it has read all of the chunk and found
	// s.end() true; otherwise it reports false and may be given the same chunk in another form.
	chunk(s *scanner, env *envelope) (signs, bool)
	// text is the answer's text so far.
	text() string
	// finish makes the answer. It is called once, as the last. A family whose body has counts that its stream
	// has not takes them from what the service counted.
	finish(m *metrics) answer
}

// A wordTaker is an assembler of a family whose streams hold strings beside objects.
type wordTaker interface {
	// word takes in a chunk that is a string.
	word(w string) signs
}

// What an answer has lost of which it can be told.
const (
	lostReason   = "a reason for its end"
	lostStart    = "its start"
	lostBlock    = "the start of a block"
	lostCall     = "the start of a tool call"
	lostAllCalls = "the tool call that its reason tells of"
)

// An answer is what an assembler makes of a whole stream.
type answer struct {
	output     []byte
	stopReason string
	usage      pipeline.Usage // as the family reports it
	// lost is what the stream should have had and had not, although its terminal event came; "" for nothing that can be told.
	lost string
}
