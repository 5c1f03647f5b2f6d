package bedrock

import "strings"

// burndowns is what an output token counts for in the quota when a call settles, by what the
// model id contains; the first match holds. From the AWS page "Token burndown on Amazon Bedrock quotas"
// (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html) as of November 2026; it has
// changed twice in a year, which is why --burndown overrides it.
var burndowns = []struct {
	contains string
	factor   float64
}{
	{"claude-opus-4-8", 15},
	{"claude-sonnet-4-8", 15},
	{"claude-haiku-4-8", 15},
	{"claude-opus-5", 10}, // 5.5 as well
	{"claude-sonnet-5", 10},
	{"claude-fable-5", 10},
	{"gpt-5.6", 10},
	{"gpt-5-6", 10},
	{"anthropic.", 5},
	{"claude", 5},
}

// Burndown is the output-token multiplier of a model: 1 where nothing else is known.
func Burndown(modelID string) float64 {
	for _, b := range burndowns {
		if strings.Contains(modelID, b.contains) {
			return b.factor
		}
	}
	return 1
}
