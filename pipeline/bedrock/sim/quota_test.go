package sim

import (
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// The worked example of docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html: 36,000 reserved and 9,000 settled; with a small limit
// the settlement passes the reservation.
func TestReservationAndSettlement(t *testing.T) {
	for limit, reserved := range map[int64]float64{32_000: 36_000, 1_250: 5_250} {
		p := &plan{request: &request{inputTokens: 3000, maxTokens: limit}, usage: Usage{InputTokens: 3000, CacheWriteInputTokens: 1000, CacheReadInputTokens: 4000, OutputTokens: 1000}}
		if got := p.reservation(); got != reserved {
			t.Errorf("max_tokens %d: reserved %v, want %v", limit, got, reserved)
		}
		if got := p.settlement(1000, 5); got != 9000 {
			t.Errorf("max_tokens %d: settled %v, want 9000", limit, got)
		}
	}
	for id, want := range map[string]float64{
		"us.anthropic.claude-opus-4-8-v1:0": 15, "global.anthropic.claude-opus-5-5-v1:0": 10, claudeID: 5, novaID: 1, llamaID: 1,
	} {
		if got := burndown(id); got != want {
			t.Errorf("burndown(%s) = %v, want %v", id, got, want)
		}
	}
}

// flood asks for n every step for a while and counts what is admitted, settling used at once.
func flood(l *ledger, n, used float64, step, during time.Duration) (admitted int) {
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(step) {
		if g, refusal := l.admit(time.Now(), n); refusal == "" {
			admitted++
			l.settle(time.Now(), g, used)
		}
	}
	return admitted
}

func TestShapesAdmit(t *testing.T) {
	tests := map[string]struct {
		quota  Quota
		n      float64
		during time.Duration
		want   int
	}{
		"a full bucket and its refill":          {Quota{RPM: 60}, 1, time.Minute, 60 + 59},
		"a bucket of ten seconds":               {Quota{RPM: 60, Window: 10 * time.Second}, 1, time.Minute, 10 + 59},
		"a minute":                              {Quota{RPM: 60, Shape: Minute}, 1, time.Minute, 60},
		"two minutes":                           {Quota{RPM: 60, Shape: StrictMinute}, 1, 2 * time.Minute, 120},
		"a sliding minute and a bit":            {Quota{RPM: 60, Shape: Sliding}, 1, 61 * time.Second, 60 + 10},
		"tokens":                                {Quota{TPM: 6000, Shape: Minute}, 100, time.Minute, 60},
		"a request that is larger than a quota": {Quota{TPM: 6000, Shape: Sliding}, 6001, time.Hour, 0},
		"a day":                                 {Quota{TPD: 1000}, 100, 23 * time.Hour, 10},
		"a day and a bit":                       {Quota{TPD: 1000}, 100, 25 * time.Hour, 20},
		"whichever is scarcer":                  {Quota{RPM: 60, TPM: 1000, Shape: Minute}, 100, time.Minute, 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLedger(tt.quota, time.Now())
				step := 100 * time.Millisecond
				if tt.during > time.Hour {
					step = time.Minute
				}
				if got := flood(l, tt.n, tt.n, step, tt.during); got != tt.want {
					t.Errorf("%d admitted, want %d", got, tt.want)
				}
			})
		})
	}
}

// What a settlement gives back, and what it takes, by shape and by when it comes.
func TestShapesSettle(t *testing.T) {
	room := func(l *ledger) float64 { // to one token
		low, high := 0.0, 1e6
		for high-low > 0.5 {
			mid := (low + high) / 2
			if l.tokens.fits(time.Now(), mid) {
				low = mid
			} else {
				high = mid
			}
		}
		return math.Round(low)
	}
	tests := map[string]struct {
		shape              Shape
		after              time.Duration // from admission to settlement
		used               float64       // of 600 reserved, of 1000 a minute
		atOnce, inAMinute  float64       // room after settlement and a minute later
		beforeIt, justThen float64       // room after admission, and just before settlement
	}{
		"bucket, refund":               {Bucket, 6 * time.Second, 100, 1000, 1000, 400, 500},
		"bucket, more than reserved":   {Bucket, 0, 1500, 0, 500, 400, 400},
		"minute, refund":               {Minute, 6 * time.Second, 100, 900, 1000, 400, 400},
		"minute, refund in the next":   {Minute, 61 * time.Second, 100, 1500, 1000, 400, 1000},
		"strict, refund":               {StrictMinute, 6 * time.Second, 100, 900, 1000, 400, 400},
		"strict, refund in the next":   {StrictMinute, 61 * time.Second, 100, 1000, 1000, 400, 1000},
		"strict, more, in the next":    {StrictMinute, 61 * time.Second, 700, 900, 1000, 400, 1000},
		"sliding, refund":              {Sliding, 6 * time.Second, 100, 900, 1000, 400, 400},
		"sliding, refund too late":     {Sliding, 61 * time.Second, 100, 1000, 1000, 400, 1000},
		"sliding, more, after it left": {Sliding, 61 * time.Second, 700, 900, 1000, 400, 1000},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLedger(Quota{TPM: 1000, Shape: tt.shape}, time.Now())
				g, refusal := l.admit(time.Now(), 600)
				if refusal != "" {
					t.Fatal(refusal)
				}
				check := func(when string, want float64) {
					t.Helper()
					if got := room(l); got != want {
						t.Errorf("room %s: %v, want %v", when, got, want)
					}
				}
				check("after admission", tt.beforeIt)
				time.Sleep(tt.after)
				check("before settlement", tt.justThen)
				l.settle(time.Now(), g, tt.used)
				check("after settlement", tt.atOnce)
				time.Sleep(time.Minute)
				check("a minute later", tt.inAMinute)
			})
		})
	}
}

// Over the wire: the real messages, in the real places, and counted.
func TestThrottling(t *testing.T) {
	tests := map[string]struct {
		quota   Quota
		admits  int
		message string
	}{
		"requests": {Quota{RPM: 2, Shape: Sliding}, 2, msgRequests},
		"tokens":   {Quota{TPM: 250, Shape: Sliding}, 5, msgTokens}, // 102 reserved, 50 settled
		"day":      {Quota{TPD: 250}, 5, msgDay},
	}
	for name, tt := range tests {
		for _, inStream := range []float64{0, 1} {
			s := start(t, Options{Quota: tt.quota, OutputTokens: 48, ThrottleInStream: inStream, FlushEvery: 99})
			c := transports[0].client(t, s)
			body := prompts[novaID]("12345678", 100)
			admitted := 0
			for range 20 {
				resp := post(t, c, s, novaID, streamOp, body)
				if resp.StatusCode == http.StatusTooManyRequests && inStream == 0 {
					if got := resp.Header.Get("x-amzn-ErrorType"); got != "ThrottlingException"+errorTypeSuffix {
						t.Errorf("%s: type %q", name, got)
					}
					b := make([]byte, 500)
					n, _ := resp.Body.Read(b)
					if got := object(t, b[:n])["message"]; got != tt.message {
						t.Errorf("%s: message %q", name, got)
					}
					break
				}
				frames, err := readFrames(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				if last := frames[len(frames)-1]; last.headers[":exception-type"] == "throttlingException" {
					if got := object(t, last.payload)["message"]; got != tt.message || inStream == 0 || len(frames) != 1 {
						t.Errorf("%s: message %q after %d frames", name, got, len(frames)-1)
					}
					break
				}
				admitted++
			}
			if name != "requests" {
				tt.admits = 3 // 102 must fit beside what 3 have settled: 150
			}
			st := s.Stats()
			if admitted != tt.admits || st.Throttled != 1 || st.Answers != int64(admitted) || st.InFlight != 0 {
				t.Errorf("%s: %d admitted, want %d; %+v", name, admitted, tt.admits, st)
			}
			if want := float64(50 * admitted); st.SettledTokens != want || st.ReservedTokens != float64(102*admitted) || len(st.Minutes) != 1 || st.Minutes[0].Settled != want {
				t.Errorf("%s: settled %v of %v reserved, minutes %+v", name, st.SettledTokens, st.ReservedTokens, st.Minutes)
			}
		}
	}
}
