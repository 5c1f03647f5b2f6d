package report

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// digits is the precision of every histogram, and longest what a time is cut to.
const (
	digits  = 3
	longest = 24 * time.Hour
)

// A Distribution sums up many values. It is nil where there are none.
type Distribution struct {
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	Mean  float64 `json:"mean"`
	Count int64   `json:"count"`
}

// A histogram counts values by size; largest and mean are exact.
type histogram struct {
	hdr      *hdrhistogram.Histogram
	unit     float64 // of what it counts, in what it reports
	max, sum int64
	most     int64
}

// newTimes makes a histogram of durations: it counts microseconds and reports milliseconds.
func newTimes() *histogram {
	return newHistogram(longest.Microseconds(), 1e-3)
}

// newSpeeds makes a histogram of rates: it counts thousandths and reports ones.
func newSpeeds() *histogram {
	return newHistogram(1_000_000_000, 1e-3)
}

func newHistogram(most int64, unit float64) *histogram {
	return &histogram{hdr: hdrhistogram.New(1, most, digits), unit: unit, most: most}
}

func (h *histogram) add(v int64) {
	v = min(max(v, 0), h.most)
	if h.hdr.RecordValue(v) != nil {
		return // cannot happen: v is in its range
	}
	h.sum += v
	h.max = max(h.max, v)
}

// addTime counts a duration, unless it is absent.
func (h *histogram) addTime(d time.Duration) {
	if d >= 0 {
		h.add(d.Microseconds())
	}
}

// at is the value below which the given part in a hundred lies; ok is false where there is none.
func (h *histogram) at(percent float64) (v int64, ok bool) {
	if h.hdr.TotalCount() == 0 {
		return 0, false
	}
	return min(h.hdr.ValueAtPercentile(percent), h.max), true
}

func (h *histogram) distribution() *Distribution {
	count := h.hdr.TotalCount()
	if count == 0 {
		return nil
	}
	at := func(percent float64) float64 {
		v, _ := h.at(percent)
		return round(float64(v) * h.unit)
	}
	return &Distribution{
		P50: at(50), P90: at(90), P99: at(99), Count: count,
		Max: round(float64(h.max) * h.unit), Mean: round(float64(h.sum) / float64(count) * h.unit),
	}
}

// round cuts what floating point adds below a thousandth.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
