package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/kafkalab/kafkalab/loadgen/report"
)

// write puts the report where it is wanted.
func (o *options) write(r *report.Report, stdout io.Writer) error {
	var errs []error
	if o.json == "-" {
		errs = append(errs, r.WriteJSON(stdout))
	} else {
		errs = append(errs, r.Table(stdout), into(o.json, r.WriteJSON))
	}
	return errors.Join(append(errs, into(o.html, r.HTML))...)
}

// into writes a file, if one is named.
func into(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("write report %q: %w", name, err)
	}
	return nil
}

// merge makes one report of the files.
func (o *options) merge() (*report.Report, error) {
	var all []*report.Report
	for _, name := range o.files {
		r, err := read(name)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return report.Merge(all...)
}

func read(name string) (*report.Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	defer f.Close()
	r, err := report.Read(f)
	if err != nil {
		return nil, fmt.Errorf("read report %q: %w", name, err)
	}
	return r, nil
}

// breaches are the reasons to call a run a failure.
func breaches(r *report.Report) (why []string) {
	s := r.Summary()
	say := func(is bool, format string, args ...any) {
		if is {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	switch {
	case s.SLO == nil:
	case r.Search != nil:
		say(r.Search.Rate == 0, "no rate was found at which the P99 meets the SLO of %v", seconds(s.SLO.Target))
	default:
		say(!s.SLO.Met, "slo: %s", s.SLO)
	}
	if r.Search == nil { // a search sends more than there is room for on purpose
		n := s.PerSecond.Failed * s.Seconds // of the warm-up, when the run ended within it
		say(n > 0, "failed: %.0f records", n)
	}
	f := r.Faults
	say(f.Lost > 0, "lost: %d records", f.Lost)
	if r.Search == nil { // beyond what a cluster can do, retries repeat records, and some are still under way when a trial ends
		say(f.Duplicated > 0, "duplicated: %d records", f.Duplicated)
		say(r.Unverified() > 0, "not known to have arrived: %d records", r.Unverified())
	}
	say(f.Reordered > 0, "reordered: %d records", f.Reordered)
	say(f.Corrupted > 0, "corrupted: %d records", f.Corrupted)
	say(f.Uncommitted > 0, "uncommitted: %d records of aborted transactions were read", f.Uncommitted)
	return why
}

func seconds(s float64) time.Duration { return time.Duration(s * 1e9).Round(time.Microsecond) }
