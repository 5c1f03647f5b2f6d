package pipeline

import "sort"

// admissions remembers which sizes of call the service took lately, to tell a record that is
// refused for itself from one that shares a shortage. It keeps, newest last, only those calls that no later
// call was as large as, so it stays small.
type admissions struct {
	seq   int64
	calls []admittedCall
}

type admittedCall struct {
	seq  int64
	size int64
}

// admit notes that a call of that size was taken.
func (a *admissions) admit(size int64) {
	a.seq++
	n := len(a.calls)
	for n > 0 && a.calls[n-1].size <= size {
		n--
	}
	a.calls = append(a.calls[:n], admittedCall{a.seq, size})
}

// since reports whether a call at least as large was taken after seq.
func (a *admissions) since(seq, size int64) bool {
	// Sizes fall from front to back: the last one that is large enough is the newest such.
	n := sort.Search(len(a.calls), func(i int) bool { return a.calls[i].size < size })
	return n > 0 && a.calls[n-1].seq > seq
}
