package bedrock

import "testing"

func TestBurndown(t *testing.T) {
	tests := map[string]float64{
		"anthropic.claude-3-haiku-20240307-v1:0":                                              5,
		"us.anthropic.claude-opus-4-8-20260801-v1:0":                                          15,
		"global.anthropic.claude-opus-5-5-v1:0":                                               10,
		"anthropic.claude-sonnet-5-v1:0":                                                      10,
		"anthropic.claude-sonnet-4-5-20250929-v1:0":                                           5,
		"arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-20250514-v1:0": 5,
		"amazon.nova-lite-v1:0":                                                               1,
		"arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl":               1,
	}
	for id, want := range tests {
		if got := Burndown(id); got != want {
			t.Errorf("Burndown(%q) = %v, want %v", id, got, want)
		}
	}
}
