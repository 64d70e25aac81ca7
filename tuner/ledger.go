package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/study"
)

// The exit codes of what reads ledgers, beside 0.
const (
	codeDamaged    = 1 // not as it was written, out of order, or of a version that is not known
	codeUnreadable = 2 // nothing can be said about it
)

// failure is an error with an exit code.
type failure struct {
	error
	code int
}

func (f failure) Unwrap() error { return f.error }

func exitCode(err error) int {
	var f failure
	if errors.As(err, &f) {
		return f.code
	}
	return 1
}

func load(path string) (ledger.Content, error) {
	book, err := ledger.Load(path)
	switch {
	case err == nil:
		return book, nil
	case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrVersion):
		return ledger.Content{}, failure{err, codeDamaged}
	}
	return ledger.Content{}, failure{err, codeUnreadable}
}

func showLedger(out io.Writer, path string, asJSON bool) error {
	book, err := load(path)
	if err != nil {
		return err
	}
	if asJSON {
		encoder := json.NewEncoder(out)
		for _, r := range book.Records {
			if err := encoder.Encode(r); err != nil {
				return fmt.Errorf("print record: %w", err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RECORD\tTIME (UTC)\tWHAT\tTRIAL\tCHANGE\tEFFECT\tREASON")
	for _, c := range study.Fold(book.Records).Changes {
		effect := ""
		if c.Effect != nil {
			effect = fmt.Sprintf("%+.1f %%", *c.Effect*100)
		}
		what := c.Outcome
		if c.Author != study.Author {
			what += " by " + c.Author
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%s\n", c.ID, c.Time.Format(time.DateTime), what, c.Trial, arrow(c.Knob, c.OldText, c.NewText), effect, c.Reason)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print ledger: %w", err)
	}
	if book.Torn > 0 {
		fmt.Fprintf(out, "the last %d bytes are an unfinished record\n", book.Torn)
	}
	return nil
}

func arrow(knob, old, new string) string {
	if knob == "" {
		return "-"
	}
	return fmt.Sprintf("%s: %s → %s", knob, old, new)
}

func verifyLedger(out io.Writer, path string) error {
	book, err := load(path)
	if err != nil {
		return err
	}
	if errs := study.Verify(book.Records); len(errs) > 0 {
		return failure{fmt.Errorf("ledger %s: %w", path, errors.Join(errs...)), codeDamaged}
	}
	fmt.Fprintf(out, "%s: %d records, checksums and order are right", path, len(book.Records))
	if book.Torn > 0 {
		fmt.Fprintf(out, "; %d bytes of an unfinished record follow, which the next start removes", book.Torn)
	}
	fmt.Fprintf(out, "\nhead %s\n", cmp.Or(book.Head, "none"))
	return nil
}
