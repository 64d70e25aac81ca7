package judge_test

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/judge"
)

// recording holds windows of a real cluster: of each configuration several deployments.
type recording map[string][][]judge.Window

// readRecording reads a CSV with the columns config, deployment, goodput (records/s) and p99 (seconds); a row is a window, rows of a deployment follow
// each other in time.
func readRecording(from io.Reader) (recording, error) {
	rows, err := csv.NewReader(from).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("read recording: %w", err)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("read recording: want a header (got nothing)")
	}
	var at [4]int
	for i, name := range []string{"config", "deployment", "goodput", "p99"} {
		if at[i] = slices.Index(rows[0], name); at[i] < 0 {
			return nil, fmt.Errorf("read recording: want a column %s (got %q)", name, rows[0])
		}
	}
	r := recording{}
	last := map[string]string{}
	for n, row := range rows[1:] {
		name, deployment := row[at[0]], row[at[1]]
		goodput, err := strconv.ParseFloat(row[at[2]], 64)
		if err != nil {
			return nil, fmt.Errorf("read recording: row %d: goodput: %w", n+2, err)
		}
		p99, err := strconv.ParseFloat(row[at[3]], 64)
		if err != nil {
			return nil, fmt.Errorf("read recording: row %d: p99: %w", n+2, err)
		}
		if before, ok := last[name]; !ok || before != deployment {
			r[name] = append(r[name], nil)
			last[name] = deployment
		}
		newest := len(r[name]) - 1
		r[name][newest] = append(r[name][newest], judge.Window{Goodput: goodput, P99: p99})
	}
	return r, nil
}

func (r recording) typical(config string) float64 {
	var medians []judge.Window
	for _, d := range r[config] {
		medians = append(medians, judge.Window{Goodput: judge.Median(d, judge.Goodput)})
	}
	return judge.Median(medians, judge.Goodput)
}

// replay tries the configurations in random order, as campaign does, from the one in the middle; each block is one of the recorded deployments.
func (r recording) replay(seed uint64, early bool) (quality float64, took time.Duration) {
	random := rand.New(rand.NewPCG(seed, 17))
	names := make([]string, 0, len(r))
	for name := range r {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return int(r.typical(a) - r.typical(b)) })
	best, incumbent := r.typical(names[len(names)-1]), names[len(names)/2]
	block := func(config string, side judge.Side) judge.Block {
		windows := r[config][random.IntN(len(r[config]))]
		took += time.Duration(restart+len(windows)) * windowLength
		return judge.Block{Side: side, Windows: windows}
	}
	for i, pick := range random.Perm(len(names))[:min(25, len(names))] {
		of := map[judge.Side]string{judge.Incumbent: incumbent, judge.Candidate: names[pick]}
		c := config(seed*25 + uint64(i))
		c.SLO = 1e9 // what is replayed is the goodput
		if decideRecorded(c, early, func(s judge.Side) judge.Block { return block(of[s], s) }) == judge.Better {
			incumbent = names[pick]
		}
	}
	return r.typical(incumbent) / best, took
}

func decideRecorded(c judge.Config, early bool, block func(judge.Side) judge.Block) judge.Decision {
	if early {
		j, err := judge.New(c)
		if err != nil {
			panic(err)
		}
		for step, more := j.Next(); more; step, more = j.Next() {
			if err := j.Add(block(step.Side)); err != nil {
				panic(err)
			}
		}
		return j.Verdict().Decision
	}
	values := map[judge.Side][]judge.Window{}
	for i := range 20 {
		b := block([]judge.Side{judge.Incumbent, judge.Candidate, judge.Candidate, judge.Incumbent}[i%4])
		values[b.Side] = append(values[b.Side], judge.Window{Goodput: judge.Median(b.Windows, judge.Goodput)})
	}
	v, err := judge.Compare(values[judge.Incumbent], values[judge.Candidate], c.Rules)
	if err != nil {
		panic(err)
	}
	return v.Decision
}

// BenchmarkRecorded is BenchmarkEarlyStopping on the recording that JUDGE_CSV names.
func BenchmarkRecorded(b *testing.B) {
	path := os.Getenv("JUDGE_CSV")
	if path == "" {
		b.Skip("JUDGE_CSV names no recording")
	}
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	r, err := readRecording(file)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var early, late time.Duration
		var found, possible float64
		for seed := range uint64(60) {
			q, t := r.replay(seed, true)
			found, early = found+q, early+t
			q, t = r.replay(seed, false)
			possible, late = possible+q, late+t
		}
		b.ReportMetric((1-early.Seconds()/late.Seconds())*100, "%saved")
		b.ReportMetric((1-found/possible)*100, "%lost")
		b.ReportMetric(found/60*100, "%of-optimum")
	}
}
