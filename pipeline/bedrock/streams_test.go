package bedrock

import "testing"

func TestStreams(t *testing.T) {
	for id, want := range map[string]bool{
		"meta.llama3-3-70b-instruct-v1:0":        true,
		"meta.llama4-scout-17b-instruct-v1:0":    false,
		"us.meta.llama4-scout-17b-instruct-v1:0": false,
		"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama4-maverick-17b-instruct-v1:0": false,
		"arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl":                              true,
		"anthropic.claude-3-haiku-20240307-v1:0":                                                             true,
	} {
		if got := Streams(id); got != want {
			t.Errorf("Streams(%q) = %v, want %v", id, got, want)
		}
	}
}
