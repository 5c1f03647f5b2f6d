package bedrock

import (
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

// What a call may be billed at most is known beforehand, or it is said that nobody knows.
func TestMost(t *testing.T) {
	plain := func(body string) int64 { return int64(len(body)) + frameTokens }
	png := "iVBO" + strings.Repeat("A", 4000)
	image := `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + png + `"}}`
	tests := map[string]struct {
		model, body   string
		input, output int64 // input 0: as plain says
		fault         string
	}{
		"a limit":                            {model: claudeID, body: `{"max_tokens":100,"messages":[]}`, output: 100},
		"the higher of two":                  {model: openaiID, body: `{"max_completion_tokens":100,"max_tokens":300}`, output: 300},
		"for each answer":                    {model: openaiID, body: `{"max_tokens":300,"n":4}`, output: 1200},
		"for each generation":                {model: commandID, body: `{"prompt":"x","num_generations":3}`, output: 60},
		"what the service refuses":           {model: claudeID, body: `{"messages":[]}`, output: 4096},
		"a documented default":               {model: llamaID, body: `{"prompt":"x"}`, output: 512},
		"null is nothing":                    {model: llamaID, body: `{"prompt":"x","max_gen_len":null}`, output: 512},
		"0 may be nothing":                   {model: llamaID, body: `{"prompt":"x","max_gen_len":0}`, output: 512},
		"Nova's first generation":            {model: novaID, body: `{"messages":[]}`, output: 5000},
		"Nova's second":                      {model: "us.amazon.nova-2-lite-v1:0", body: `{"messages":[]}`, fault: "inferenceConfig.maxTokens is not set"},
		"gpt-oss":                            {model: openaiID, body: `{"messages":[]}`, output: 128_000},
		"another of OpenAI's":                {model: "openai.gpt-9", body: `{"messages":[]}`, fault: "is not set"},
		"a family that documents nothing":    {model: qwenID, body: `{"messages":[]}`, fault: "max_tokens is not set"},
		"a model that nobody knows":          {model: genericID, body: `{"messages":[]}`, fault: "max_tokens is not set"},
		"which has a limit":                  {model: genericID, body: `{"max_gen_len":7,"maxTokens":9}`, output: 9, input: 31 + unknownFrameTokens},
		"a limit in quotes":                  {model: claudeID, body: `{"max_tokens":"100000"}`, fault: "max_tokens is not a whole number"},
		"half a token":                       {model: claudeID, body: `{"max_tokens":0.5}`, fault: "max_tokens is not a whole number"},
		"tools":                              {model: claudeID, body: `{"max_tokens":1,"tools":[]}`, output: 1, input: 27 + frameTokens + toolFrameTokens},
		"an image has its pixels":            {model: claudeID, body: `{"max_tokens":1,"messages":[` + image + `]}`, output: 1, input: int64(len(image)-len(png)+30) + frameTokens + imageTokensMost},
		"with its slashes escaped":           {model: claudeID, body: `{"max_tokens":1,"x":{"data":"\/9j\/` + strings.Repeat(`AA\/A`, 100) + `"}}`, output: 1, input: 32 + frameTokens + imageTokensMost},
		"with line breaks":                   {model: claudeID, body: `{"max_tokens":1,"x":{"data":"iVBO` + strings.Repeat(strings.Repeat("A", 72)+`\n`, 9) + `"}}`, output: 1, input: 32 + frameTokens + imageTokensMost},
		"a small one, escaped":               {model: claudeID, body: `{"max_tokens":1,"x":{"data":"\/9j\/abcd"}}`, output: 1, input: 42 + frameTokens + imageTokensMost},
		"and a small one has":                {model: claudeID, body: `{"max_tokens":1,"x":{"data":"iVBOabcd"}}`, output: 1, input: 40 + frameTokens + imageTokensMost},
		"a document has pages, who knows":    {model: claudeID, body: `{"max_tokens":1,"data":"JVBE` + strings.Repeat("A", 4000) + `"}`, fault: "is not known beforehand"},
		"what lies elsewhere has no bytes":   {model: novaID, body: `{"inferenceConfig":{"maxTokens":1},"s3Location":{"uri":"s3://b/k"}}`, fault: "is not known beforehand"},
		"too many answers to multiply":       {model: openaiID, body: `{"max_tokens":1000000000,"n":9000000000}`, fault: "9000000000 answers"},
		"escapes are longer than their text": {model: claudeID, body: `{"max_tokens":1,"x":"\u65e5"}`, output: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := testModel(t, "http://localhost", tt.model)
			req := &pipeline.Request{Body: []byte(tt.body), InputTokens: 3}
			input, output, err := m.Most(req)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) || err.(interface{ Hint() string }).Hint() == "" {
					t.Errorf("Most = %d, %d, %v; want a fault with %q and a hint", input, output, err, tt.fault)
				}
				return
			}
			want := tt.input
			if want == 0 {
				want = plain(tt.body)
			}
			if err != nil || input != want || output != tt.output {
				t.Errorf("Most = %d, %d, %v; want %d, %d", input, output, err, want, tt.output)
			}
			req.Counted = true
			if input, _, _ := m.Most(req); input != 3 {
				t.Errorf("Most = %d of input that the service has counted as 3", input)
			}
		})
	}
}

// In Converse the model's own maximum holds where nothing was said, and what is passed on to the model may say more.
func TestMostConverse(t *testing.T) {
	converse := func(o *Options) { o.API = ConverseStream }
	tests := map[string]struct {
		model, body string
		output      int64 // 0: nobody knows
	}{
		"a limit":            {claudeID, `{"inferenceConfig":{"maxTokens":100}}`, 100},
		"passed on":          {claudeID, `{"inferenceConfig":{"maxTokens":100},"additionalModelRequestFields":{"max_tokens":900}}`, 900},
		"answers, passed on": {claudeID, `{"inferenceConfig":{"maxTokens":100},"additionalModelRequestFields":{"n":2}}`, 200},
		"a known maximum":    {llamaID, `{"messages":[]}`, 2048},
		"an unknown one":     {claudeID, `{"messages":[]}`, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, output, err := testModel(t, "http://localhost", tt.model, converse).Most(&pipeline.Request{Body: []byte(tt.body)})
			if output != tt.output || (err != nil) != (tt.output == 0) {
				t.Errorf("Most = %d, %v; want %d", output, err, tt.output)
			}
		})
	}
}

// What Bedrock itself adds to a request cannot be bounded, only counted.
func TestMostOfKeptPrompt(t *testing.T) {
	m := testModel(t, "http://localhost", "arn:aws:bedrock:us-east-1:123456789012:prompt/ABCDEFGHIJ:1", func(o *Options) { o.API = ConverseStream })
	req := &pipeline.Request{Body: []byte(`{"inferenceConfig":{"maxTokens":9}}`)}
	if in, out, err := m.Most(req); err == nil {
		t.Errorf("Most = %d, %d of a prompt that nobody has seen", in, out)
	}
}

// A format that the user names says nothing of a model's own limit.
func TestMostOfNamedFamily(t *testing.T) {
	m := testModel(t, "http://localhost", importedID, func(o *Options) { o.Family = "llama" })
	if _, n, err := m.Most(&pipeline.Request{Body: []byte(`{"prompt":"x"}`)}); err == nil {
		t.Errorf("Most = %d of a model that is only said to be like Llama", n)
	}
}
