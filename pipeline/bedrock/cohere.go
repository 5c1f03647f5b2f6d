package bedrock

// This file is what Cohere's two formats, Command and Command R, have in common.

// cohereKeys are Cohere's names.
var cohereKeys = promptKeys{topP: "p", topK: "k", stop: "stop_sequences"}

// A coherePiece is what a chunk of either format may say, as it stands in the chunk.
type coherePiece struct {
	text     []byte
	reason   []byte
	response []byte // the whole answer, which a last chunk repeats
	finished bool
}

// take reads a member of a chunk if it is one of these.
func (p *coherePiece) take(key []byte, s *scanner) bool {
	switch string(key) {
	case "text":
		p.text = s.str()
	case "is_finished":
		p.finished = string(s.raw()) == "true"
	case "finish_reason":
		p.reason = s.word()
	case "response":
		p.response = s.raw()
	default:
		return false
	}
	return true
}

// gaveUp reports, to env as well, that the reason is the one with which Cohere gives an answer up: no end of an answer.
func (p *coherePiece) gaveUp(env *envelope) bool {
	if string(p.reason) != "ERROR" {
		return false
	}
	env.gaveUp(p.reason)
	return true
}

// appendWordOrNull writes a word that was read by [scanner.word], null where none came.
func appendWordOrNull(dst, word []byte) []byte {
	if word == nil {
		return append(dst, "null"...)
	}
	return appendString(dst, string(word))
}
