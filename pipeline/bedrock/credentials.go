package bedrock

import (
	"context"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// credentialSource is the credentials of a model, through a cache. It remembers the last ones it gave out,
// so that they can be taken out of messages.
type credentialSource struct {
	cache *aws.CredentialsCache
	last  atomic.Pointer[aws.Credentials]
}

func newCredentialSource(p aws.CredentialsProvider) *credentialSource {
	cache, ok := p.(*aws.CredentialsCache)
	if !ok {
		cache = aws.NewCredentialsCache(p)
	}
	return &credentialSource{cache: cache}
}

// Retrieve gives the cached credentials, or resolves them.
func (s *credentialSource) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := s.cache.Retrieve(ctx)
	if err != nil {
		return c, err
	}
	if last := s.last.Load(); last == nil || last.AccessKeyID != c.AccessKeyID || last.SessionToken != c.SessionToken {
		s.last.Store(&c)
	}
	return c, nil
}

// ProviderSources tells the SDK where they come from, for its user agent.
func (s *credentialSource) ProviderSources() []aws.CredentialSource { return s.cache.ProviderSources() }
