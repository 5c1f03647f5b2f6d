package ratelimit

import (
	"testing"
	"time"
)

// What the service admits of a quota that is stated too high is told within some minutes, and to a few percent; of one that is stated
// right it is not, nor where refusals come at any rate.
func TestOverstatedQuotasAreTold(t *testing.T) {
	const tpm, rpm = 840_000, 1200
	for name, tt := range map[string]struct {
		o                Options
		tokens, requests bool    // told
		noise            float64 // the share refused whatever the rate
	}{
		"twice the tokens":                {o: Options{TokensPerMinute: 2 * tpm}, tokens: true},
		"a third more tokens":             {o: Options{TokensPerMinute: 1.33 * tpm}, tokens: true},
		"twice the requests":              {o: Options{RequestsPerMinute: 2 * rpm}, requests: true},
		"right":                           {o: Options{TokensPerMinute: tpm, RequestsPerMinute: 10 * rpm}},
		"requests right":                  {o: Options{RequestsPerMinute: rpm}},
		"nothing stated":                  {},
		"twice, and one in 30 is refused": {o: Options{RequestsPerMinute: 2 * rpm}, noise: 0.03},
	} {
		t.Run(name, func(t *testing.T) {
			for _, shape := range shapeNames {
				for seed := range uint64(2) {
					svc := shapes[shape](tpm)
					if tt.o.TokensPerMinute == 0 {
						svc = &dual{tokens: shapes[shape](10 * tpm), requests: shapes[shape](rpm)}
					}
					if tt.noise > 0 {
						svc = refusing(svc, tt.noise, seed)
					}
					tt.o.Concurrency = 400
					s := simulateAt(tt.o, svc, plainJob, seed, time.Unix(1_800_000_000+17*int64(seed), 0))
					tokens, requests := 0, 0 // minutes in which it is told
					for range 25 {
						s.run(time.Minute)
						tokens += told(t, s.core.refusedAbove(s.now, &s.core.tokenPace), tpm)
						requests += told(t, s.core.refusedAbove(s.now, &s.core.requestPace), rpm)
					}
					if tokens >= 5 != tt.tokens || tokens > 0 && !tt.tokens || requests >= 5 != tt.requests || requests > 0 && !tt.requests {
						t.Errorf("%s, seed %d: told of tokens in %d minutes, of requests in %d; want tokens %v, requests %v",
							shape, seed, tokens, requests, tt.tokens, tt.requests)
					}
				}
			}
		})
	}
}

// told is 1 if a rate is told, which is to be a quota.
func told(t *testing.T, rate, quota float64) int {
	t.Helper()
	if rate == 0 {
		return 0
	}
	if rate < 0.95*quota || rate > 1.05*quota {
		t.Errorf("told %.0f, want about %.0f", rate, quota)
	}
	return 1
}

// Beside a program on the SDK's adaptive mode nobody says that what is stated right is too much, or hardly ever.
func TestWhatARivalTakesIsNotOverstated(t *testing.T) {
	for name, o := range map[string]Options{"tokens": {TokensPerMinute: 840_000}, "requests": {RequestsPerMinute: 1200}} {
		t.Run(name, func(t *testing.T) {
			sc := scenario{job: plainJob, tpm: 840_000, o: o, runners: 2, join: time.Minute, stranger: true, warm: 1, lasts: 30}
			if o.RequestsPerMinute > 0 {
				sc.tpm, sc.rpm = 10*sc.tpm, o.RequestsPerMinute
			}
			minutes, told := 0, 0
			sc.at = func(sec int, l *lab) {
				if sec%60 == 0 {
					c := l.ours[0].core
					minutes++
					if now := l.ours[0].now; c.refusedAbove(now, &c.tokenPace)+c.refusedAbove(now, &c.requestPace) > 0 {
						told++
					}
				}
			}
			for _, shape := range shapeNames {
				for seed := range uint64(3) {
					sc.play(shape, seed)
				}
			}
			if told*100 > minutes {
				t.Errorf("told in %d of %d minutes, want 1 in 100 at most", told, minutes)
			}
		})
	}
}
