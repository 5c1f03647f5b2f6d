package bedrock

import (
	"errors"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

func TestEncodeShortForm(t *testing.T) {
	warm := 0.5
	full := &pipeline.Prompt{Text: "Say \"hi\"\n<b>日</b>", System: "Be brief.", MaxTokens: 9, Temperature: &warm, Stop: []string{"END"}}
	noStop := *full
	noStop.Stop = nil
	short := &pipeline.Prompt{Text: "hi"}
	const chatFull = `{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Say \"hi\"\n<b>日</b>"}],"max_tokens":9,"temperature":0.5,"stop":["END"]}`
	const chatShort = `{"messages":[{"role":"user","content":"hi"}],"max_tokens":4096}`
	tests := []struct {
		model  string
		prompt *pipeline.Prompt
		want   string
		max    int64
	}{
		{claudeID, full, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"system":"Be brief.","messages":[{"role":"user","content":"Say \"hi\"\n<b>日</b>"}],"temperature":0.5,"stop_sequences":["END"]}`, 9},
		{claudeID, short, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":4096,"messages":[{"role":"user","content":"hi"}]}`, 4096},
		{novaID, full, `{"schemaVersion":"messages-v1","system":[{"text":"Be brief."}],"messages":[{"role":"user","content":[{"text":"Say \"hi\"\n<b>日</b>"}]}],"inferenceConfig":{"maxTokens":9,"temperature":0.5,"stopSequences":["END"]}}`, 9},
		{llamaID, &noStop, `{"prompt":"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nSay \"hi\"\n<b>日</b><|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n","max_gen_len":9,"temperature":0.5}`, 9},
		{llamaID, short, `{"prompt":"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n","max_gen_len":2048}`, 2048},
		{titanID, full, `{"inputText":"Be brief.\n\nSay \"hi\"\n<b>日</b>","textGenerationConfig":{"maxTokenCount":9,"temperature":0.5,"stopSequences":["END"]}}`, 9},

		{"meta.llama2-13b-chat-v1", &noStop, `{"prompt":"<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nSay \"hi\"\n<b>日</b> [/INST]","max_gen_len":9,"temperature":0.5}`, 9},
		{"us.meta.llama4-scout-17b-instruct-v1:0", &noStop, `{"prompt":"<|begin_of_text|><|header_start|>system<|header_end|>\n\nBe brief.<|eot|><|header_start|>user<|header_end|>\n\nSay \"hi\"\n<b>日</b><|eot|><|header_start|>assistant<|header_end|>\n\n","max_gen_len":9,"temperature":0.5}`, 9},
		{"us.meta.llama3-3-70b-instruct-v1:0", short, `{"prompt":"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n","max_gen_len":2048}`, 2048},
		{mistralTextID, full, `{"prompt":"<s>[INST] Be brief.\n\nSay \"hi\"\n<b>日</b> [/INST]","max_tokens":9,"temperature":0.5,"stop":["END"]}`, 9},
		{deepseekR1ID, full, `{"prompt":"<｜begin▁of▁sentence｜>Be brief.<｜User｜>Say \"hi\"\n<b>日</b><｜Assistant｜><think>\n","max_tokens":9,"temperature":0.5,"stop":["END"]}`, 9},
		{commandID, full, `{"prompt":"Be brief.\n\nSay \"hi\"\n<b>日</b>","stream":true,"max_tokens":9,"temperature":0.5,"stop_sequences":["END"]}`, 9},
		{commandRID, full, `{"preamble":"Be brief.","message":"Say \"hi\"\n<b>日</b>","max_tokens":9,"temperature":0.5,"stop_sequences":["END"]}`, 9},
		{commandRID, short, `{"message":"hi","max_tokens":4096}`, 4096},
		{j2ID, full, `{"prompt":"Be brief.\n\nSay \"hi\"\n<b>日</b>","maxTokens":9,"temperature":0.5,"stopSequences":["END"]}`, 9},
		{openaiID, full, strings.Replace(chatFull, "max_tokens", "max_completion_tokens", 1), 9},
		{openaiID, short, strings.Replace(chatShort, "max_tokens", "max_completion_tokens", 1), 4096},
		{mistralID, full, chatFull, 9},
		{jambaID, full, chatFull, 9},
		{deepseekID, full, chatFull, 9},
		{qwenID, short, chatShort, 4096},
		{writerID, full, chatFull, 9},
		{chatID, full, chatFull, 9},
		{importedID, full, chatFull, 9},
		{genericID, short, chatShort, 4096},
	}
	for _, tt := range tests {
		m := testModel(t, "http://localhost", tt.model)
		req, err := m.Encode(&pipeline.Record{Prompt: tt.prompt})
		if err != nil {
			t.Fatal(err)
		}
		if string(req.Body) != tt.want || req.MaxTokens != tt.max {
			t.Errorf("%s: %s, max %d\nwant %s, max %d", tt.model, req.Body, req.MaxTokens, tt.want, tt.max)
		}
	}
}

// TestEncodeDialects sends what came in another dialect in the words of each family, and what came in its own untouched.
func TestEncodeDialects(t *testing.T) {
	const openAI = `{"model":"gpt","stream":true,"max_tokens":9,"top_p":0.5,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":"And?"}]}`
	const prefill = `{"max_tokens":9,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hel"}]}`
	const converse = `{"messages":[{"role":"user","content":[{"text":"Hi"}]}],"inferenceConfig":{"maxTokens":9}}`
	const params = `{"model":"claude","max_tokens":9,"thinking":{"type":"enabled"},"messages":[{"role":"user","content":"Hi"}]}`
	tests := []struct {
		model   string
		dialect pipeline.Dialect
		body    string
		want    string // the body, or a part of the fault
	}{
		{claudeID, pipeline.OpenAI, openAI, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"system":"Be brief.","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":"And?"}],"top_p":0.5}`},
		{novaID, pipeline.OpenAI, openAI, `{"schemaVersion":"messages-v1","system":[{"text":"Be brief."}],"messages":[{"role":"user","content":[{"text":"Hi"}]},{"role":"assistant","content":[{"text":"Hello."}]},{"role":"user","content":[{"text":"And?"}]}],"inferenceConfig":{"maxTokens":9,"topP":0.5}}`},
		{llamaID, pipeline.OpenAI, openAI, `{"prompt":"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n","max_gen_len":9,"top_p":0.5}`},
		{titanID, pipeline.OpenAI, openAI, `{"inputText":"Be brief.\n\nUser: Hi\nBot: Hello.\nUser: And?\nBot:","textGenerationConfig":{"maxTokenCount":9,"topP":0.5}}`},
		{llamaID, pipeline.OpenAI, prefill, `{"prompt":"<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHel","max_gen_len":9}`},
		{titanID, pipeline.OpenAI, prefill, `{"inputText":"User: Hi\nBot: Hel","textGenerationConfig":{"maxTokenCount":9}}`},
		{claudeID, pipeline.Invoke, converse, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`},
		{novaID, pipeline.Invoke, converse, converse},
		{claudeID, pipeline.Anthropic, params, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"thinking":{"type":"enabled"},"messages":[{"role":"user","content":"Hi"}]}`},
		{novaID, pipeline.Anthropic, params, "params.thinking: "},
		{llamaID, pipeline.OpenAI, `{"tools":[{"type":"function","function":{"name":"f"}}],"messages":[{"role":"user","content":"Hi"}]}`, "tools: the llama family has no counterpart"},
		{titanID, pipeline.OpenAI, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}]}`, "an image in messages: the titan family"},
		{novaID, pipeline.Chat, `{"messages":[{"role":"user","content":"Hi"}],"tools":[{"name":"f","input_schema":{}}],"tool_choice":"none"}`, "tool_choice: the nova family"},
	}
	for _, tt := range tests {
		req, err := testModel(t, "http://localhost", tt.model).Encode(&pipeline.Record{Dialect: tt.dialect, Input: []byte(tt.body)})
		fault, refused := errors.AsType[*pipeline.Fault](err)
		switch {
		case refused && strings.HasPrefix(fault.Message, tt.want) && fault.Type == pipeline.TypeInvalidRecord:
		case err != nil:
			t.Errorf("%s %s: %v\nwant %s", tt.model, tt.body, err, tt.want)
		case string(req.Body) != tt.want:
			t.Errorf("%s %s:\n got %s\nwant %s", tt.model, tt.body, req.Body, tt.want)
		case req.MaxTokens != 9:
			t.Errorf("%s: %d tokens are reserved", tt.model, req.MaxTokens)
		}
	}
}

// TestFamilySpeaksOpenAI passes on what a family takes as it is, chat lines too where they say the same in the same words.
func TestFamilySpeaksOpenAI(t *testing.T) {
	m := testModel(t, "http://localhost", claudeID)
	own := *m.family
	own.speaks, own.takes = pipeline.OpenAI, pipeline.Features{}
	m.family = &own
	for _, tt := range []struct {
		dialect    pipeline.Dialect
		body, want string
	}{
		{pipeline.OpenAI, `{"model":"gpt","seed":7,"stream":true,"messages": [1]}`, `{"seed":7,"messages": [1]}`},
		{pipeline.Chat, `{"messages":[{"role":"user","content":"Hi"}],"seed":7}`, `{"messages":[{"role":"user","content":"Hi"}],"seed":7}`},
		{pipeline.Chat, `{"messages":[{"role":"user","content":"Hi"}],"system":"s"}`, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":4096,"system":"s","messages":[{"role":"user","content":"Hi"}]}`},
	} {
		req, err := m.Encode(&pipeline.Record{Dialect: tt.dialect, Input: []byte(tt.body)})
		if err != nil || string(req.Body) != tt.want {
			t.Errorf("%s: %v, %v", tt.body, req, err)
		}
	}
	// A family that says nothing of what it takes gets plain prompts only.
	_, err := m.Encode(&pipeline.Record{Dialect: pipeline.Anthropic, Input: []byte(`{"max_tokens":5,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"x"}]}`)})
	if fault, ok := errors.AsType[*pipeline.Fault](err); !ok || !strings.Contains(fault.Message, "more than one message") {
		t.Error(err)
	}
}

func TestEncodeRejects(t *testing.T) {
	long := `{"messages":["` + strings.Repeat("x", MaxBody) + `"]}`
	tests := map[string]struct {
		model string
		rec   *pipeline.Record
		typ   string
	}{
		"a body too large":   {claudeID, &pipeline.Record{Input: []byte(long)}, pipeline.TypeRecordTooLarge},
		"a prompt too large": {claudeID, &pipeline.Record{Prompt: &pipeline.Prompt{Text: strings.Repeat("x", MaxBody)}}, pipeline.TypeRecordTooLarge},
		"a list":             {claudeID, &pipeline.Record{Input: []byte(`[1]`)}, pipeline.TypeInvalidRecord},
		"a string":           {claudeID, &pipeline.Record{Input: []byte(` "x"`)}, pipeline.TypeInvalidRecord},
		"null":               {claudeID, &pipeline.Record{Input: []byte(`null`)}, pipeline.TypeInvalidRecord},
		"an empty prompt":    {claudeID, &pipeline.Record{Prompt: &pipeline.Prompt{Text: " \n"}}, pipeline.TypeInvalidRecord},
		"no prompt at all":   {claudeID, &pipeline.Record{}, pipeline.TypeInvalidRecord},
		"stop for llama":     {llamaID, &pipeline.Record{Prompt: &pipeline.Prompt{Text: "x", Stop: []string{"y"}}}, pipeline.TypeInvalidRecord},
	}
	for name, tt := range tests {
		req, err := testModel(t, "http://localhost", tt.model).Encode(tt.rec)
		if f, ok := errors.AsType[*pipeline.Fault](err); !ok || f.Type != tt.typ || req != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReservation(t *testing.T) {
	image := strings.Repeat("A", 400_000)
	tests := map[string]struct {
		model, body  string
		minIn, maxIn int64
		max          int64
		warned       string
	}{
		"claude":                            {claudeID, `{"max_tokens":7,"messages":[{"role":"user","content":"` + strings.Repeat("word ", 800) + `"}]}`, 1000, 1030, 7, ""},
		"max_tokens after the messages":     {claudeID, `{"messages":[{"max_tokens":3}],"max_tokens" : 7.0}`, 1, 20, 7, ""},
		"not the max_tokens of a tool":      {claudeID, `{"tools":[{"max_tokens":3}],"thinking":{"max_tokens":5}}`, 1, 20, 4096, "max_tokens"},
		"an image":                          {claudeID, `{"max_tokens":7,"messages":[{"content":[{"type":"image","source":{"data":"iVBO` + image + `"}}]}]}`, 1600, 1630, 7, ""},
		"a document":                        {claudeID, `{"max_tokens":7,"messages":[{"content":[{"type":"document","source":{"data":"JVBE` + image + `"}}]}]}`, 10_000, 14_000, 7, ""},
		"text under the key data":           {claudeID, `{"max_tokens":7,"messages":[{"data":"` + strings.Repeat("a b ", 1000) + `"}]}`, 1000, 1020, 7, ""},
		"nova":                              {novaID, `{"inferenceConfig":{"maxTokens":70}}`, 1, 10, 70, ""},
		"nova, the older name":              {novaID, `{"inferenceConfig":{"max_new_tokens":71}}`, 1, 10, 71, ""},
		"nova without":                      {novaID, `{"messages":[]}`, 1, 10, 5000, "inferenceConfig.maxTokens"},
		"llama":                             {llamaID, `{"prompt":"a \"quoted\\\" b","max_gen_len":72}`, 1, 20, 72, ""},
		"an escaped quote":                  {llamaID, `{"prompt":"a\" ","max_gen_len":72,"x":"\" y"}`, 1, 20, 72, ""},
		"llama without":                     {llamaID, `{"prompt":"x"}`, 1, 10, 512, "max_gen_len"},
		"llama with images":                 {llamaID, `{"prompt":"x","images":["iVBO` + image + `","/9j/` + image + `"],"max_gen_len":1}`, 3200, 3220, 1, ""},
		"titan":                             {titanID, `{"inputText":"x","textGenerationConfig":{"maxTokenCount":73}}`, 1, 30, 73, ""},
		"titan without":                     {titanID, `{"inputText":"x"}`, 1, 10, 512, "maxTokenCount"},
		"claude, asked for a completion":    {claudeID, `{"prompt":"x","max_tokens_to_sample":9}`, 1, 20, 9, ""},
		"mistral 7B without":                {mistralTextID, `{"prompt":"x"}`, 1, 10, 512, "max_tokens"},
		"mistral large of before without":   {"mistral.mistral-large-2402-v1:0", `{"prompt":"x"}`, 1, 10, 8192, "max_tokens"},
		"mistral without":                   {mistralID, `{"messages":[]}`, 1, 10, 8192, "max_tokens"},
		"command without":                   {commandID, `{"prompt":"x"}`, 1, 10, 20, "max_tokens"},
		"command-r without":                 {commandRID, `{"message":"x"}`, 1, 10, 4096, "max_tokens"},
		"j2 without":                        {j2ID, `{"prompt":"x"}`, 1, 10, 200, "maxTokens"},
		"jamba without":                     {jambaID, `{"messages":[]}`, 1, 10, 4096, "max_tokens"},
		"writer without":                    {writerID, `{"messages":[]}`, 1, 10, 16, "max_tokens"},
		"deepseek without":                  {deepseekR1ID, `{"prompt":"x"}`, 1, 10, 32768, "max_tokens"},
		"openai, either name":               {openaiID, `{"max_tokens":71}`, 1, 10, 71, ""},
		"openai":                            {openaiID, `{"max_completion_tokens":72,"messages":[]}`, 1, 20, 72, ""},
		"an image as OpenAI takes it":       {chatID, `{"max_tokens":7,"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBO` + image + `"}}]}]}`, 1600, 1640, 7, ""},
		"the address of an image":           {chatID, `{"max_tokens":7,"messages":[{"content":[{"image_url":{"url":"https://example.com/;base64,` + strings.Repeat("a", 400) + `"}}]}]}`, 100, 130, 7, ""},
		"a body that is cut off is no harm": {titanID, `{"inputText":"x`, 1, 10, 512, "maxTokenCount"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var warned []string
			m := testModel(t, "http://localhost", tt.model, func(o *Options) { o.Warn = func(s string) { warned = append(warned, s) } })
			for range 3 {
				req, err := m.Encode(&pipeline.Record{Input: []byte(tt.body)})
				if err != nil {
					t.Fatal(err)
				}
				if req.InputTokens < tt.minIn || req.InputTokens > tt.maxIn || req.MaxTokens != tt.max {
					t.Errorf("%d in, %d out; want %d-%d in, %d out", req.InputTokens, req.MaxTokens, tt.minIn, tt.maxIn, tt.max)
				}
			}
			if (tt.warned == "") != (len(warned) == 0) || len(warned) > 1 || len(warned) == 1 && !strings.Contains(warned[0], tt.warned) {
				t.Errorf("warned: %q", warned)
			}
		})
	}
}

func FuzzWeigh(f *testing.F) {
	f.Add(`{"a\\":"b\"","max_tokens":-1e9,"x":[{"max_tokens":`)
	f.Add(`{"`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, fam := range families {
			if w, ok := weigh([]byte(body), fam); ok && (w.tokens() < 0 || w.tokens() > int64(len(body))*2000) {
				t.Errorf("%+v", w)
			}
		}
	})
}

func BenchmarkEncode25MB(b *testing.B) {
	body := []byte(`{"max_tokens":7,"messages":[{"content":[{"type":"image","source":{"data":"iVBO` + strings.Repeat("A", 24_900_000) + `"}}]}]}`)
	m := testModel(b, "http://localhost", claudeID)
	rec := &pipeline.Record{Input: body}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Encode(rec); err != nil {
			b.Fatal(err)
		}
	}
}
