package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/batchrun/batchrun/pipeline/input"
)

// templateMax is far more than any prompt around a row of a table needs.
const templateMax = 1 << 20

// checkTemplate says what is wrong with a template that is not in a file, "" for nothing.
func checkTemplate(text string) string {
	if strings.HasPrefix(text, "@") {
		return ""
	}
	if _, err := input.ParseTemplate(text); err != nil {
		return "expected a Go template: " + strings.Join(strings.Fields(err.Error()), " ")
	}
	return ""
}

// loadTemplate reads the template of a job: its text, or what @FILE holds; nil for none.
func loadTemplate(spec string) (t *input.Template, text string, err error) {
	if spec == "" {
		return nil, "", nil
	}
	text = spec
	name, isFile := strings.CutPrefix(spec, "@")
	if isFile {
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, "", fmt.Errorf("--template: %w", err)
		case !info.Mode().IsRegular() || info.Size() > templateMax:
			return nil, "", fmt.Errorf("--template: %s: is not a file of at most %d bytes", name, templateMax)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, "", fmt.Errorf("--template: %w", err)
		}
		text = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r") // what an editor adds
	}
	if t, err = input.ParseTemplate(text); err != nil {
		where := "--template"
		if isFile {
			where = name
		}
		return nil, "", fmt.Errorf("%s: %w", where, err)
	}
	return t, text, nil
}

// LoadTemplate reads a template as --template has it: its text, or @FILE; nil for "".
func LoadTemplate(spec string) (*input.Template, error) {
	t, _, err := loadTemplate(spec)
	return t, err
}

// templateMark is how a run remembers its template: itself where it is short, so that a difference can be read.
func templateMark(text string) string {
	if len(text) <= 120 {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("%d bytes, SHA-256 %s", len(text), hex.EncodeToString(sum[:]))
}
