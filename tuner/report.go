package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/kafkalab/kafkalab/tuner/report"
)

// The forms of a report.
const (
	asMarkdown = "markdown"
	asJSON     = "json"
	asHTML     = "html"
)

// showReport writes a report to out, or, whole or not at all, to a file.
func showReport(out io.Writer, path, form, file string) error {
	book, err := load(path)
	if err != nil {
		return err
	}
	r := report.New(book)
	write := map[string]func(io.Writer) error{asMarkdown: r.Markdown, asJSON: r.JSON, asHTML: r.HTML}[form]
	var text bytes.Buffer
	if err := write(&text); err != nil {
		return err
	}
	if file == "" {
		if _, err := text.WriteTo(out); err != nil {
			return fmt.Errorf("print report: %w", err)
		}
		return nil
	}
	return replace(file, text.Bytes())
}

func replace(file string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".report-*")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	defer os.Remove(f.Name()) // nothing is there any more once it was renamed
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
