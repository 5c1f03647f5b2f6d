package state

import "github.com/batchrun/batchrun/sinks"

// EstimateDisk says about how many bytes of disk a run needs at its peak, from the input and the length of answers
// to be expected (in tokens; 0: 500). For Parquet that is the spool and the file made of it, which stand side
// by side while it is sealed. Answers count twice, as modelOutput and as text.
func EstimateDisk(f Frozen, answerTokens int64) int64 {
	const bytesPerToken, rowOverhead = 4, 700
	if answerTokens <= 0 {
		answerTokens = 500
	}
	var rows int64
	for _, s := range f.Input {
		rows += s.Records * (rowOverhead + 2*answerTokens*bytesPerToken)
		switch sinks.Rows(f.Rows) {
		case sinks.Lean, sinks.OpenAI, sinks.Anthropic, sinks.Text:
		default: // with modelInput
			rows += s.Size
		}
	}
	if f.Format == Parquet {
		rows *= 2
	}
	return rows
}

// FreeDisk says how many bytes this user may still write where path is or will be. known is false where the
// system does not say.
func FreeDisk(path string) (bytes int64, known bool) { return freeDisk(path) }
