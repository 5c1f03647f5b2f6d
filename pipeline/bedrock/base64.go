package bedrock

import "encoding/binary"

// The chunks of a stream are short, and their base64 ends where the string does. So it is decoded up to the first byte that is
// none, which spares looking for the end before; and through a table for each of four places, which
// takes half the time of encoding/base64 at that length. What is not plain is left to encoding/base64.

// quadBits are the bits of a character of base64 at each of four places, as they stand in three bytes from the left;
// notBase64 of every other byte.
var quadBits = func() (t [4][256]uint32) {
	for place := range t {
		for c := range t[place] {
			t[place][c] = notBase64
		}
		for v, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
			t[place][c] = uint32(v) << (26 - 6*place)
		}
	}
	return t
}()

const notBase64 = 1

// decodeQuads decodes base64 from the start of src, four characters at a time, up to the first four that are not all of its
// alphabet. dst has room for three quarters of src, rounded down, at least; the bytes behind the n that were decoded may be changed.
func decodeQuads(dst, src []byte) (n, read int) {
	for len(src)-read >= 8 && len(dst)-n >= 8 {
		s := src[read : read+8]
		high := quadBits[0][s[0]] | quadBits[1][s[1]] | quadBits[2][s[2]] | quadBits[3][s[3]]
		low := quadBits[0][s[4]] | quadBits[1][s[5]] | quadBits[2][s[6]] | quadBits[3][s[7]]
		if (high|low)&notBase64 != 0 {
			break
		}
		binary.BigEndian.PutUint64(dst[n:], uint64(high)<<32|uint64(low)<<8)
		n, read = n+6, read+8
	}
	for len(src)-read >= 4 && len(dst)-n >= 3 {
		s := src[read : read+4]
		v := quadBits[0][s[0]] | quadBits[1][s[1]] | quadBits[2][s[2]] | quadBits[3][s[3]]
		if v&notBase64 != 0 {
			break
		}
		dst[n], dst[n+1], dst[n+2] = byte(v>>24), byte(v>>16), byte(v>>8)
		n, read = n+3, read+4
	}
	return n, read
}

// commonPrefix is how many bytes both begin with, rounded down to eight.
func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b)) &^ 7
	for i := 0; i < n; i += 8 {
		if binary.LittleEndian.Uint64(a[i:]) != binary.LittleEndian.Uint64(b[i:]) {
			return i
		}
	}
	return n
}
