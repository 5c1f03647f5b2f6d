package input

import (
	"encoding/binary"
	"math"
	"sync/atomic"

	"github.com/bits-and-blooms/bloom/v3"
	"github.com/cespare/xxhash/v2"
)

// 4 MiB: after 3.5 million ids, one in a hundred new ones looks like a repeated one.
const (
	bloomBits   = 32 << 20
	bloomHashes = 7
)

// repeats counts ids that came before, about. The filter is made with the first id.
type repeats struct {
	filter   *bloom.BloomFilter
	bits     uint // of the filter; 0: bloomBits
	ids      int64
	hits     int64
	expected float64 // hits that the filter got wrong, on average
	rate     float64 // at which it gets them wrong, brought up to date now and then
	about    atomic.Int64
}

func (r *repeats) add(id []byte) {
	if r.filter == nil {
		if r.bits == 0 {
			r.bits = bloomBits
		}
		r.filter = bloom.New(r.bits, bloomHashes)
	}
	var key [8]byte
	binary.LittleEndian.PutUint64(key[:], xxhash.Sum64(id))
	r.ids++
	if r.ids%1024 == 0 {
		r.rate = math.Pow(-math.Expm1(-bloomHashes*float64(r.ids-r.hits)/float64(r.bits)), bloomHashes)
	}
	r.expected += r.rate
	if !r.filter.TestAndAdd(key[:]) {
		return
	}
	r.hits++
	// What chance alone explains is no news.
	if about := float64(r.hits) - r.expected; about > 4*math.Sqrt(r.expected) {
		r.about.Store(int64(math.Round(about)))
	}
}
