package bedrock

import (
	"errors"
	"fmt"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// A family is the set of models that share the format of their requests and streams.
// To add one: a file with its variable of this type, and a row in families.
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
	// maxLimit is the highest answer length that the service accepts from models of the family; 0 for none.
	maxLimit int64
	// encode makes the body of a short-form record.
	encode func(p *pipeline.Prompt, maxTokens int64) ([]byte, *pipeline.Fault)
	// assemble returns a new assembler for one stream.
	assemble func() assembler
}

// families has a row for each family.
var families = []*family{&claude, &nova, &llama, &titan}

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
	// finish makes the answer. It is called once, as the last.
	finish() answer
}

// An answer is what an assembler makes of a whole stream.
type answer struct {
	output     []byte
	stopReason string
	usage      pipeline.Usage // as the family reports it
}

// ErrUnknownFamily is the reason of an error about a model id that does not tell the format of its requests.
var ErrUnknownFamily = errors.New("unknown family")

// Families are the names of the families, as --family takes them.
func Families() []string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.name
	}
	return names
}

// FamilyOf names the family of a model by its id: a foundation model or inference profile, as a plain id or
// an ARN. Of any other model, such as a provisioned or imported one, it knows nothing: [ErrUnknownFamily].
func FamilyOf(modelID string) (string, error) {
	f, err := resolveFamily(modelID, "")
	if err != nil {
		return "", err
	}
	return f.name, nil
}

// resolveFamily finds the family by its name, or else by the model.
func resolveFamily(modelID, name string) (*family, error) {
	if name != "" {
		for _, f := range families {
			if f.name == name {
				return f, nil
			}
		}
		return nil, &ConfigError{
			Message:  fmt.Sprintf("unknown family %q", name),
			HintText: "the families are " + strings.Join(Families(), ", "),
			Err:      ErrUnknownFamily,
		}
	}
	id, ok := baseModelID(modelID)
	if ok {
		for _, f := range families {
			if f.owns(id) {
				return f, nil
			}
		}
		// A profile's id has the geography in front: us.anthropic.…
		if geo, rest, ok := strings.Cut(id, "."); ok && isGeography(geo) {
			for _, f := range families {
				if f.owns(rest) {
					return f, nil
				}
			}
		}
	}
	return nil, &ConfigError{
		Message:  fmt.Sprintf("model %q does not tell its family", modelID),
		HintText: "give --family, one of " + strings.Join(Families(), ", "),
		Err:      ErrUnknownFamily,
	}
}

func (f *family) owns(id string) bool {
	has := func(prefixes []string) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(id, p) {
				return true
			}
		}
		return false
	}
	return has(f.ids) && !has(f.notIDs)
}

// baseModelID is the id inside the ARN of a foundation model or system inference profile, or a plain id itself.
func baseModelID(id string) (string, bool) {
	if !strings.HasPrefix(id, "arn:") {
		return id, true
	}
	parts := strings.SplitN(id, ":", 6)
	if len(parts) != 6 || parts[2] != "bedrock" {
		return "", false
	}
	for _, kind := range []string{"foundation-model/", "inference-profile/"} {
		if rest, ok := strings.CutPrefix(parts[5], kind); ok {
			return rest, true
		}
	}
	return "", false
}

// regionOf is the region inside an ARN, "" for anything else.
func regionOf(id string) string {
	parts := strings.SplitN(id, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" {
		return ""
	}
	return parts[3]
}

// isGeography reports whether s looks like the prefix of an inference profile: us, eu, apac, global, us-gov, …
func isGeography(s string) bool {
	for _, c := range s {
		if (c < 'a' || c > 'z') && c != '-' {
			return false
		}
	}
	return len(s) >= 2
}
