package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/kafkalab/kafkalab/internal/kafka"
	"github.com/kafkalab/kafkalab/loadgen/drive"
	"github.com/kafkalab/kafkalab/loadgen/report"
	"github.com/kafkalab/kafkalab/loadgen/schedule"
	"github.com/kafkalab/kafkalab/loadgen/search"
	"github.com/kafkalab/kafkalab/loadgen/workload"
)

// plan is what a run is going to do.
type plan struct {
	mode     string
	listen   string
	client   kafka.Client
	topic    string
	workload workload.Workload
	duration time.Duration
	share    drive.Share
	find     search.Config
	log      *slog.Logger
}

// plan reads the workload and applies the command line to it, or reports every problem of both.
func (o *options) plan(now time.Time) (plan, error) {
	var problems []error
	need := func(ok bool, field, problem string, got any) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s: %s (got %v)", field, problem, got))
		}
	}
	w, err := o.load()
	if err != nil {
		problems = append(problems, err)
	}
	if err == nil && (o.p99 != 0 || o.replication != 0) {
		w.SLO.P99 = cmp.Or(o.p99, w.SLO.P99)
		w.Topic.Replication = cmp.Or(o.replication, w.Topic.Replication)
		if err := w.Validate(); err != nil {
			problems = append(problems, err)
		}
	}
	need(o.duration >= 0, "duration", "must be 0 or more", o.duration)
	need(o.topic != "", "topic", "must be set", "none")
	p := plan{mode: o.mode, listen: o.listen, topic: o.topic, duration: o.duration}
	p.client = kafka.Client{Brokers: o.brokers, Security: w.Security}
	if err := (kafka.Client{Brokers: o.brokers}).Validate(); err != nil {
		problems = append(problems, fmt.Errorf("kafka.%w", err))
	}
	switch o.mode {
	case report.ModeRun:
		scheduled := w.Schedule.Shape != ""
		need(o.rate >= 0 && o.rate <= schedule.MaxRate, "rate", fmt.Sprintf("must be above 0 and at most %v records per second", schedule.MaxRate), o.rate)
		need(o.rate != 0 || scheduled || err != nil, "rate", "must be above 0, given with --rate, when the workload has no schedule", o.rate)
		if o.rate > 0 {
			w.Schedule = schedule.Config{Shape: schedule.Constant, Rate: o.rate}
		}
		if p.share, err = o.shared(now); err != nil {
			problems = append(problems, err)
		}
	default:
		need(w.Schedule.Shape == "", "schedule.shape", "must be left out with "+o.mode+", which sets the rate itself", w.Schedule.Shape)
		need(w.Consumer.Clients > 0 || err != nil, "consumer.clients", "must be at least 1 with "+o.mode+", which goes by end-to-end latency", w.Consumer.Clients)
	}
	if o.mode == report.ModeSearch {
		p.find = o.search(w)
		if err := p.find.Validate(); err != nil && len(problems) == 0 {
			problems = append(problems, fmt.Errorf("search: %w", err))
		}
		need(o.duration == 0, "duration", "must be left out with search, which ends by itself", o.duration)
	}
	p.workload = w
	return p, errors.Join(problems...)
}

func (o *options) load() (workload.Workload, error) {
	if o.file != "" {
		return workload.File(o.file)
	}
	return workload.Preset(o.name)
}

func (o *options) search(w workload.Workload) search.Config {
	c := o.find
	c.SLO = w.SLO.P99
	if c.Min == 0 {
		c.Min = w.SLO.Min
	}
	if c.Max == 0 {
		c.Max = w.SLO.Max
	}
	if c.Start == 0 {
		c.Start = min(max(w.SLO.Start, c.Min), c.Max)
	}
	return c
}

// untilStart is how far away the common start of several copies is at least, if it is not given: they are started by hand or by a scheduler,
// within seconds of each other.
const untilStart = 10 * time.Second

func (o *options) shared(now time.Time) (s drive.Share, err error) {
	index, count, ok := strings.Cut(o.share, "/")
	i, ierr := strconv.Atoi(index)
	n, nerr := strconv.Atoi(count)
	if !ok || ierr != nil || nerr != nil || n < 1 || i < 0 || i >= n {
		return s, fmt.Errorf("share: must be INDEX/COUNT with an index within 0..COUNT-1, such as 0/4 (got %q)", o.share)
	}
	s = drive.Share{Index: i, Count: n}
	if o.start != "" {
		if s.Start, err = time.Parse(time.RFC3339, o.start); err != nil {
			return s, fmt.Errorf("share.start: must be a time such as 2006-01-02T15:04:05Z (got %q)", o.start)
		}
		if end := s.Start.Add(o.duration); o.duration > 0 && !end.After(now) {
			return s, fmt.Errorf("share.start: must be less than the duration of %v ago (got %s)", o.duration, o.start)
		}
	} else if n > 1 {
		s.Start = now.Add(untilStart + time.Minute - 1).Truncate(time.Minute)
	}
	return s, nil
}
