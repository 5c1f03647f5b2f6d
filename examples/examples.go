// Package examples holds the files that the demo and the documentation use.
package examples

import _ "embed"

// Prompts is prompts.jsonl: twenty records, ten in the short form and ten as Bedrock batch inference has them, for a
// Claude model. Each has an id of its own and the answer that is expected.
//
//go:embed prompts.jsonl
var Prompts []byte

// Nightly is nightly.yaml: a job file with comments.
//
//go:embed nightly.yaml
var Nightly []byte
