package bedrock

import (
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// A template is how a model marks the turns of a conversation, where its API takes one text and leaves that to the caller.
type template struct {
	begin                  string
	systemBegin, systemEnd string
	userBegin, userEnd     string
	saidBegin, saidEnd     string // around what the model said before
	answer                 string // after the last turn of the user: the model's own begins
	// systemInTurn: the system prompt stands inside the first turn, which is the user's.
	systemInTurn bool
}

// write is a prompt as the model is to see it. A conversation that ends with words of the model's has it go on with them.
func (t *template) write(p *pipeline.Prompt) string {
	var system string
	if p.System != "" {
		system = t.systemBegin + p.System + t.systemEnd
	}
	turns := turnsOf(p)
	if t.systemInTurn && turns[0].role == pipeline.Assistant {
		turns = append([]turn{{role: pipeline.User}}, turns...)
	}
	var all strings.Builder
	all.WriteString(t.begin)
	if !t.systemInTurn {
		all.WriteString(system)
	}
	for i, one := range turns {
		last := i == len(turns)-1
		switch {
		case one.role == pipeline.User:
			all.WriteString(t.userBegin)
			if i == 0 && t.systemInTurn {
				all.WriteString(system)
			}
			all.WriteString(one.text + t.userEnd)
			if last {
				all.WriteString(t.answer)
			}
		case last:
			all.WriteString(t.saidBegin + one.text)
		default:
			all.WriteString(t.saidBegin + one.text + t.saidEnd)
		}
	}
	return all.String()
}

// A turn is what one side says before the other speaks.
type turn struct {
	role pipeline.Role
	text string
}

// turnsOf are the turns of a conversation of texts. Neighbours of one role, which no template has a mark for, are
// paragraphs of one turn.
func turnsOf(p *pipeline.Prompt) (turns []turn) {
	for _, m := range p.Conversation() {
		if n := len(turns); n > 0 && turns[n-1].role == m.Role {
			turns[n-1].text += "\n\n" + m.Text()
			continue
		}
		turns = append(turns, turn{m.Role, m.Text()})
	}
	return turns
}
