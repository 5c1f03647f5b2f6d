package bedrock

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

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

// FamilyOf names the family of a model by its id: a foundation model or inference profile, as a plain id or an ARN, or the
// ARN of a custom or imported model. The id of a provider that is not known gives "generic". Of any other
// model, such as a provisioned one or one that answers with pictures, it knows nothing: [ErrUnknownFamily].
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
	id := foundationID(modelID)
	for _, f := range families {
		if f.owns(id) {
			return f, nil
		}
	}
	if strings.Contains(modelID, ":imported-model/") && strings.HasPrefix(modelID, "arn:") {
		return &imported, nil
	}
	if isNewModel(id) {
		return &generic, nil
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

// foundationID is the id of the foundation model behind a model id or ARN, without the geography of an inference profile. It
// is "" where the id does not tell it.
func foundationID(modelID string) string {
	id := modelID
	if strings.HasPrefix(id, "arn:") {
		parts := strings.SplitN(id, ":", 6)
		if len(parts) != 6 || parts[2] != "bedrock" {
			return ""
		}
		kind, name, _ := strings.Cut(parts[5], "/")
		switch kind {
		case "foundation-model", "inference-profile":
			id = name
		case "custom-model": // BASE/ID: a model keeps the format of what it was made from
			id, _, _ = strings.Cut(name, "/")
		default:
			return ""
		}
	}
	// A profile's id has the geography in front: us.anthropic.… A model's own name may have dots as well: deepseek.v3.2.
	if geo, rest, ok := strings.Cut(id, "."); ok && isGeography(geo) && isProvider(providerOf(rest)) {
		return rest
	}
	return id
}

// notText are parts of the ids of models that take other requests or give no text: embeddings, pictures, sound.
var notText = []string{"embed", "rerank", "image", "canvas", "reel", "sonic", "speech", "stability.", "luma.", "twelvelabs."}

// isNewModel reports whether an id has the form PROVIDER.MODEL of a model that may answer with text.
func isNewModel(id string) bool {
	provider, name, _ := strings.Cut(id, ".")
	if !providerName.MatchString(provider) || name == "" {
		return false
	}
	for _, part := range notText {
		if strings.Contains(id, part) {
			return false
		}
	}
	return true
}

var providerName = regexp.MustCompile(`^[a-z][a-z0-9-]+$`)

// providerOf is the part of a model id before its name.
func providerOf(id string) string {
	provider, _, _ := strings.Cut(id, ".")
	return provider
}

// isProvider reports whether a family's models come from this provider.
func isProvider(name string) bool {
	for _, f := range families {
		for _, id := range f.ids {
			if providerOf(id) == name {
				return true
			}
		}
	}
	return false
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
