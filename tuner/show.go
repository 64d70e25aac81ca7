package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/kafkalab/kafkalab/tuner/ledger"
	"github.com/kafkalab/kafkalab/tuner/status"
	"github.com/kafkalab/kafkalab/tuner/study"
)

func showLedger(out io.Writer, path string, asJSON bool) error {
	records, torn, err := ledger.Read(path)
	if err != nil {
		return err
	}
	if asJSON {
		encoder := json.NewEncoder(out)
		for _, r := range records {
			if err := encoder.Encode(r); err != nil {
				return fmt.Errorf("print record: %w", err)
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "RECORD\tTIME (UTC)\tWHAT\tTRIAL\tCHANGE\tEFFECT\tREASON")
	for _, c := range study.Fold(records).Changes {
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
	if torn > 0 {
		fmt.Fprintf(out, "the last %d bytes are an unfinished record\n", torn)
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
	records, torn, err := ledger.Read(path)
	if err != nil {
		return err
	}
	if errs := study.Verify(records); len(errs) > 0 {
		return fmt.Errorf("ledger %s: %w", path, errors.Join(errs...))
	}
	fmt.Fprintf(out, "%s: %d records, checksums and order are right", path, len(records))
	if torn > 0 {
		fmt.Fprintf(out, "; %d bytes of an unfinished record follow, which the next start removes", torn)
	}
	fmt.Fprintln(out)
	return nil
}

func showStatus(ctx context.Context, out io.Writer, address string, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(address, "/")+"/api/v1/status", nil)
	if err != nil {
		return fmt.Errorf("ask tuner: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask tuner: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("ask tuner: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask tuner at %s: want status 200 (got %s)", address, resp.Status)
	}
	if asJSON {
		_, err := out.Write(body)
		return err
	}
	var s status.Snapshot
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("read tuner's answer: %w", err)
	}
	return s.Print(out)
}
