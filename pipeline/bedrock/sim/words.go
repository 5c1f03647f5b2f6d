package sim

import "math/rand/v2"

// words are the tokens of simulated answers. What a JSON or UTF-8 mistake would break is all in
// here: accents, CJK, emoji with joiners, quotes, backslashes, line breaks, markup.
var words = [...]string{
	"the", "river", "turns", "slowly", "past", "old", "stone", "walls", "and", "morning", "light", "falls",
	"on", "empty", "fields", "where", "birds", "gather", "before", "rain", "while", "someone", "counts", "boats",
	"café", "naïve", "Zürich", "smörgås", "señor", "été", "œuvre", "Łódź", "İstanbul", "Ελλάδα", "привет", "שלום",
	"東京", "雨が降る", "静かな", "森", "中文字", "한국어", "नमस्ते", "ไทย",
	"“quoted”", "\"plain\"", "back\\slash", "tab\there", "line\nbreak", "<b>&amp;</b>", "e\u0301", "\u2028",
	"3.14", "100%", "(perhaps)", "it's", "—", "end.", "so,", "then;", "42", "x≠y", "½", "∑",
}

// glyphs take two tokens each, as rare characters do in byte-level vocabularies.
var glyphs = [...]string{"🌊", "🦉", "👩‍🚀", "🏔️", "🍋", "𝔐", "🇨🇭", "𠮷"}

// A text is generated output: the bytes, and where each token ends in them.
type text struct {
	bytes []byte
	ends  []int32
}

func (t *text) tokens() int { return len(t.ends) }

func (t *text) add(token string) {
	t.bytes = append(t.bytes, token...)
	t.ends = append(t.ends, int32(len(t.bytes)))
}

// cut leaves the first n tokens.
func (t *text) cut(n int) {
	t.ends = t.ends[:n]
	if n == 0 {
		t.bytes = t.bytes[:0]
		return
	}
	t.bytes = t.bytes[:t.ends[n-1]]
}

// cutBytes leaves what comes before byte n, a token that is cut counting as one.
func (t *text) cutBytes(n int) {
	t.bytes = t.bytes[:n]
	for i, end := range t.ends {
		if int(end) >= n {
			t.ends = t.ends[:i+1]
			t.ends[i] = int32(n)
			return
		}
	}
}

// pieces yields the text by groups of n tokens, each with its number of tokens. A piece may be
// empty when all it holds is the first half of a glyph.
func (t *text) pieces(n int, yield func(piece []byte, tokens int) bool) bool {
	from := int32(0)
	for i := 0; i < len(t.ends); i += n {
		j := min(i+n, len(t.ends))
		end := t.ends[j-1]
		if !yield(t.bytes[from:end], j-i) {
			return false
		}
		from = end
	}
	return true
}

// write generates n tokens.
func (t *text) write(n int, rng *rand.Rand) {
	t.bytes = make([]byte, 0, 8*n)
	t.ends = make([]int32, 0, n)
	for t.tokens() < n {
		if t.tokens() > 0 {
			t.bytes = append(t.bytes, ' ')
		}
		r := rng.Uint64()
		if r>>32%16 == 0 {
			t.add("") // the first half shows as nothing
			if t.tokens() < n {
				t.add(glyphs[uint32(r)%uint32(len(glyphs))])
			}
			continue
		}
		t.add(words[uint32(r)%uint32(len(words))])
	}
}

// say takes given words as the text: a token for each, with the white space before it.
func (t *text) say(s string) {
	from, inWord := 0, false
	for i := range len(s) {
		space := s[i] == ' ' || s[i] == '\n'
		if space && inWord {
			t.add(s[from:i])
			from = i
		}
		inWord = !space
	}
	if from < len(s) {
		t.add(s[from:])
	}
}
