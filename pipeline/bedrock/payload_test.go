package bedrock

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"testing"

	sdkstream "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/batchrun/batchrun/pipeline/bedrock/eventstream"
)

func TestPayload(t *testing.T) {
	const b64 = "eyJhIjoxfQ==" // {"a":1}
	for payload, want := range map[string]string{
		`{"bytes":"` + b64 + `","p":"abc"}`:                          `{"a":1}`,
		`{"bytes":"` + b64 + `"}`:                                    `{"a":1}`,
		`{"p":"abc","bytes":"` + b64 + `"}`:                          `{"a":1}`,
		" {\n\"bytes\" : \"" + b64 + "\" , \"p\":\"\" } ":            `{"a":1}`,
		`{"bytes":"` + b64 + `","p":"\u0041\""}`:                     `{"a":1}`,
		`{"bytes":"\u0065yJhIjoxfQ=="}`:                              `{"a":1}`,
		`{"byt\u0065s":"` + b64 + `"}`:                               `{"a":1}`,
		`{"new":{"bytes":"x"},"bytes":"` + b64 + `","also":[1,"}"]}`: `{"a":1}`,
		`{"bytes":"Pz8/"}`:                                           `???`,
		`{"bytes":"Pz8\/"}`:                                          `???`,
		`{"bytes":""}`:                                               ``,
		`{"bytes":null}`:                                             ``,
		`{"p":"abc"}`:                                                ``,
		`{}`:                                                         ``,
	} {
		if got, err := newStream().unwrap([]byte(payload)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v, want %q", payload, got, err, want)
		}
	}
	for _, payload := range []string{``, `x`, `[]`, `"bytes"`, `{"bytes":"` + b64, `{"bytes":"eyJ"}`, `{"bytes":"%%%%"}`, `{"bytes":"` + b64 + `"}}`, `{"bytes":"` + b64 + `","p":"a\"}`, `{"bytes":"` + b64 + `","p":"abc"`} {
		if got, err := newStream().unwrap([]byte(payload)); err == nil {
			t.Errorf("%s gave %q", payload, got)
		}
	}
}

// The reading of a payload is encoding/json's, whatever the payload, and whatever payload came before it.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{
		`{"bytes":"eyJhIjoxfQ==","p":"abc"}`, `{"p":1,"bytes":"e30="}`, `{"bytes":"a\/b="}`, `{"bytes":null}`, `{"bytes":"e30=","p":"\"}`,
		`{"bytes":"eyJ0eXBlIjoiY29udGVudF9ibG9ja19kZWx0YSIsImluZGV4IjowfQ==","p":"abc"}`, `{"bytes":"eyJ0eXBlIjoiY29udGVudF9ibG9ja19kZWx0YSIsImluZGV4IjoyfX0="}`,
	} {
		for _, before := range []string{``, s, `{"bytes":"eyJhIjoxfQAAAAAAAAAA"}`, `{"bytes":"eyJhIjoxfQ%AAAAAAAAA"}`, `{"p":"","bytes":"AAAAAAAAAAAAAAAA"}`} {
			f.Add(before, s)
		}
	}
	f.Fuzz(func(t *testing.T, before, payload string) {
		st := newStream()
		_, _ = st.unwrap([]byte(payload)) // may be anything
		_, _ = st.unwrap([]byte(before))
		got, err := st.unwrap([]byte(payload))
		var all map[string]json.RawMessage
		wantErr := json.Unmarshal([]byte(payload), &all)
		if all == nil && wantErr == nil {
			wantErr = errNoChunk
		}
		var want []byte
		if raw := all["bytes"]; wantErr == nil && len(raw) > 0 && raw[0] == '"' {
			var s string
			_ = json.Unmarshal(raw, &s)
			want, wantErr = base64.StdEncoding.DecodeString(s)
		}
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Fatalf("got %q, %v; want %q, %v", got, err, want, wantErr)
		}
	})
}

// Our text is encoding/json's.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{`a\u0041\n`, `\ud83d\ude00`, `\ud83d`, `\ude00\ud83d\ud83d\ude00`, "\xff\xfe", `\"\\\/\b\f\n\r\t`, `\ud83dx`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var want string
		err := json.Unmarshal([]byte(`"`+raw+`"`), &want)
		s := scanner{b: []byte(`"` + raw + `"`)}
		got := s.str()
		if ok := s.end(); ok != (err == nil) {
			t.Fatalf("%q: scanned %v, json says %v", raw, ok, err)
		}
		if err == nil && unescape(got) != want {
			t.Fatalf("%q: %q, want %q", raw, unescape(got), want)
		}
		if err == nil {
			var back string
			if json.Unmarshal(appendRawString(nil, got), &back) != nil || back != want {
				t.Fatalf("%q written back as %q", raw, appendRawString(nil, got))
			}
		}
	})
}

// FuzzScanner: the scanner takes exactly what encoding/json takes, but for what it leaves to the slow way.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e+3,true,false,null,"x"],"b":{}}`, `[1,]`, `{"a":1,}`, `01`, `-`, `1.`, `1e`, `nul`, `[[[]]]`, `{"a" 1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := scanner{b: []byte(text), slow: true}
		s.skip()
		if got, want := s.end(), json.Valid([]byte(text)); got != want {
			t.Fatalf("%q: scanned %v, valid %v", text, got, want)
		}
	})
}

// Our decoder and the SDK's read the same messages from the same bytes.
func TestDecoderAgainstTheSDK(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var stream bytes.Buffer
	enc := sdkstream.NewEncoder()
	for range 500 {
		var msg sdkstream.Message
		msg.Payload = make([]byte, rnd.IntN(3000))
		for i := range msg.Payload {
			msg.Payload[i] = byte(rnd.Uint32())
		}
		for _, h := range []sdkstream.Header{
			{Name: ":message-type", Value: sdkstream.StringValue("event")},
			{Name: ":event-type", Value: sdkstream.StringValue("chunk")},
			{Name: "t", Value: sdkstream.BoolValue(true)},
			{Name: "f", Value: sdkstream.BoolValue(false)},
			{Name: "8", Value: sdkstream.Int8Value(-8)},
			{Name: "16", Value: sdkstream.Int16Value(16)},
			{Name: "32", Value: sdkstream.Int32Value(32)},
			{Name: "64", Value: sdkstream.Int64Value(64)},
			{Name: "b", Value: sdkstream.BytesValue(msg.Payload[:min(9, len(msg.Payload))])},
			{Name: "u", Value: sdkstream.UUIDValue{1, 2}},
			{Name: "time", Value: sdkstream.TimestampValue{}},
		} {
			if rnd.IntN(3) > 0 {
				msg.Headers.Set(h.Name, h.Value)
			}
		}
		if err := enc.Encode(&stream, msg); err != nil {
			t.Fatal(err)
		}
	}
	theirs, ours := sdkstream.NewDecoder(), eventstream.NewDecoder(bytes.NewReader(stream.Bytes()))
	r := bytes.NewReader(stream.Bytes())
	for n := range 501 {
		want, wantErr := theirs.Decode(r, nil)
		got, err := ours.Next()
		if (err == io.EOF) != (wantErr == io.EOF) || (err == nil) != (wantErr == nil) {
			t.Fatalf("message %d: %v, the SDK says %v", n, err, wantErr)
		}
		if err != nil {
			break
		}
		if !bytes.Equal(got.Payload, want.Payload) {
			t.Fatalf("message %d: other payloads", n)
		}
		for _, name := range []string{":message-type", ":event-type", "b"} {
			value, ok := got.Header(name)
			v := want.Headers.Get(name)
			if ok != (v != nil) {
				t.Fatalf("message %d: header %s", n, name)
			}
			if ok && name != "b" && v.String() != string(value) || ok && name == "b" && !bytes.Equal(v.Get().([]byte), value) {
				t.Fatalf("message %d: header %s is %q, the SDK says %v", n, name, value, v)
			}
		}
	}
}

// At most one allocation for a hundred chunks, beside the growing text.
func TestChunksDoNotAllocate(t *testing.T) {
	for name, tt := range familyCases {
		if name == "j2" {
			continue // has one chunk, which is the answer
		}
		text := tt.stream[tt.content]
		f, _ := resolveFamily(tt.modelID, "")
		st := newStream()
		st.reset(f, &call{response: emptyResponse()})
		payload := chunk(text)
		dec := eventstream.NewDecoder(bytes.NewReader(payload))
		msg, err := dec.Next()
		if err != nil {
			t.Fatal(err)
		}
		st.take(&msg)
		if n := testing.AllocsPerRun(5000, func() { st.take(&msg) }); n > 0.01 {
			t.Errorf("%s: %v allocations a chunk", name, n)
		}
	}
}
