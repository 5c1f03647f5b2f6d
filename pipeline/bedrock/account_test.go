package bedrock

import (
	"strings"
	"testing"
)

func TestAccountOf(t *testing.T) {
	for name, tt := range map[string]struct {
		key, want string
		ok        bool
	}{
		// Both pairs have been published: https://medium.com/@TalBeerySec/a-short-note-on-aws-key-id-f88cc4317489,
		// and the documentation of LocalStack.
		"a published temporary key": {"ASIAY34FZKBOKMUTVV7A", "609629065308", true},
		"a published key":           {"AKIARZPUZDIKGB2VALC4", "123456789012", true},
		"of zeros":                  {"ASIAQAAAAAAAGMKEM7X5", "000000000000", true},
		"not base 32":               {"ASIAY34FZKBOKMUTVV70", "", false},
		"another prefix":            {"AROAY34FZKBOKMUTVV7A", "", false},
		"too short":                 {"AKIDEXAMPLE", "", false},
		"nothing":                   {"", "", false},
	} {
		if got, ok := accountOf(tt.key); got != tt.want || ok != tt.ok {
			t.Errorf("%s: accountOf(%q) = %q, %v, want %q, %v", name, tt.key, got, ok, tt.want, tt.ok)
		}
	}
}

func TestAccountTellsAccountsApart(t *testing.T) {
	account := func(change func(*Options)) string {
		o := Options{ModelID: "anthropic.claude-3-haiku-20240307-v1:0", IgnoreEnvironment: true, EndpointURL: "http://127.0.0.1:1/x", SecretAccessKey: "s"}
		change(&o)
		m, err := New(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if m.Account() != "" {
			t.Error("an account is told before there are credentials")
		}
		if err := m.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := m.Endpoint(); got != o.EndpointURL {
			t.Errorf("Endpoint() = %q, want %q", got, o.EndpointURL)
		}
		return m.Account()
	}
	one := account(func(o *Options) { o.AccessKeyID = "ASIAY34FZKBOKMUTVV7A" })
	same := account(func(o *Options) { o.AccessKeyID = "AKIAY34FZKBOKAAAAAAA" })
	other := account(func(o *Options) { o.AccessKeyID = "AKIARZPUZDIKGB2VALC4" })
	unknown := account(func(o *Options) { o.AccessKeyID = "made-up-key" })
	profile := account(func(o *Options) { o.AccessKeyID, o.Profile = "made-up-key", "night" })
	if one != same {
		t.Errorf("two keys of one account: %s and %s", one, same)
	}
	seen := map[string]bool{one: true, other: true, unknown: true, profile: true}
	if len(seen) != 4 || seen[""] {
		t.Errorf("four accounts give %v", seen)
	}
	for hash := range seen {
		if len(hash) != 12 || strings.Contains("609629065308 123456789012", hash) {
			t.Errorf("%q is not a short hash", hash)
		}
	}
}
