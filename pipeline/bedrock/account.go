package bedrock

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
)

// Account is a short hash that tells accounts apart, to keep things by that are of one account, as quotas are. It is made from
// the account's number where the credentials tell it, and from the profile's name where they do not, never from what signs
// requests. It is "" for a bearer token, and before [Model.Prepare] has resolved credentials.
func (m *Model) Account() string {
	if m.creds == nil {
		return ""
	}
	c := m.creds.last.Load()
	if c == nil {
		return ""
	}
	number, ok := c.AccountID, c.AccountID != ""
	if !ok {
		number, ok = accountOf(c.AccessKeyID)
	}
	if ok {
		return shortHash("account " + number)
	}
	profile := m.opts.Profile
	if profile == "" && !m.opts.IgnoreEnvironment {
		profile = os.Getenv("AWS_PROFILE")
	}
	return shortHash("profile " + profile)
}

// Endpoint is the endpoint that calls go to, without anything that could be a secret; "" for the Region's own.
func (m *Model) Endpoint() string {
	base := m.client.Options().BaseEndpoint
	if base == nil {
		return ""
	}
	u, err := url.Parse(*base)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// accountOf is the number of the account that an access key id stands for: the 40 bits after the first of what follows its prefix of
// four characters, in base 32 (https://medium.com/@TalBeerySec/a-short-note-on-aws-key-id-f88cc4317489). Keys from before
// that form give another number, but always the same for one key.
func accountOf(keyID string) (string, bool) {
	if len(keyID) != 20 || keyID[:4] != "AKIA" && keyID[:4] != "ASIA" {
		return "", false
	}
	raw, err := base32.StdEncoding.DecodeString(keyID[4:])
	if err != nil {
		return "", false
	}
	return fmt.Sprintf("%012d", binary.BigEndian.Uint64(raw)<<1>>24), true
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}
