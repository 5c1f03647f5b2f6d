package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// writeInput writes the records 0 to n-1, as write makes them, to a file.
func writeInput(path string, n int, write func(w *bufio.Writer, i int) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	for i := 0; i < n && err == nil; i++ {
		err = write(w, i)
	}
	if err == nil {
		err = w.Flush()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// A message is the record of a question to a Claude model, as Bedrock batch inference takes it.
type message struct {
	RecordID   string     `json:"recordId"`
	ModelInput modelInput `json:"modelInput"`
	// Note goes to the row's metadata.
	Note string `json:"note,omitempty"`
}

type modelInput struct {
	Version   string `json:"anthropic_version"`
	MaxTokens int    `json:"max_tokens"`
	Messages  []turn `json:"messages"`
}

type turn struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func newMessage(id, text string) message {
	return message{RecordID: id, ModelInput: modelInput{
		Version: "bedrock-2023-05-31", MaxTokens: 1024, Messages: []turn{{"user", text}},
	}}
}

// messages writes n questions that differ.
func messages(path string, n int) error {
	return writeInput(path, n, func(w *bufio.Writer, i int) error {
		return writeLine(w, newMessage(recordID(i), fmt.Sprintf("Question %d: what does the river do past the old stone walls, and why does nobody count the boats?", i)))
	})
}

func recordID(i int) string { return fmt.Sprintf("r%07d", i) }

func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w) // ends the line
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// prompts writes n records in the short form.
func prompts(path string, n int) error {
	return writeInput(path, n, func(w *bufio.Writer, i int) error {
		_, err := fmt.Fprintf(w, `{"id":%q,"prompt":"Question %d: yes or no?","maxTokens":16}`+"\n", recordID(i), i)
		return err
	})
}

// giants writes n records whose text has so many bytes, without ever holding one.
func giants(path string, n, size int) error {
	const piece = "The river turns slowly past old stone walls and nobody counts the boats. "
	return writeInput(path, n, func(w *bufio.Writer, i int) error {
		fmt.Fprintf(w, `{"recordId":%q,"modelInput":{"anthropic_version":"bedrock-2023-05-31","max_tokens":64,"messages":[{"role":"user","content":"%08d `, recordID(i), i)
		if _, err := io.CopyN(w, repeat(piece), int64(size-9)); err != nil {
			return err
		}
		_, err := w.WriteString("\"}]}}\n")
		return err
	})
}

// repeat reads the same text for ever.
func repeat(text string) io.Reader { return &repeater{text: text} }

type repeater struct {
	text string
	at   int
}

func (r *repeater) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], r.text[r.at:])
		n += c
		r.at = (r.at + c) % len(r.text)
	}
	return n, nil
}

// eachLine calls f with every line of a file, its end included. A last line that was cut short is an error.
func eachLine(path string, f func(line []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	r := bufio.NewReaderSize(file, 256<<10)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil
		case errors.Is(err, io.EOF):
			err = errors.New("the last line has no end")
		case err == nil:
			err = f(line)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
}
