package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/tuner/search"
	"github.com/kafkalab/kafkalab/tuner/space"
)

func sample(entrants ...string) plan {
	return plan{Entrants: entrants, Repeats: 3, Budget: 8 * time.Minute, Settle: time.Minute, Window: time.Minute, Workload: "bulk", Seed: 1}
}

func TestEachRepeatIsARoundOfAllInAnOrderOfItsOwn(t *testing.T) {
	p := sample("no-op", "random", "one-knob", "tuner")
	turns := p.turns()
	orders := map[string]bool{}
	for n := range p.Repeats {
		var names []string
		for _, x := range turns[n*4 : n*4+4] {
			if x.Repeat != n+1 {
				t.Errorf("round %d holds %+v", n+1, x)
			}
			names = append(names, x.Entrant)
		}
		orders[strings.Join(names, " ")] = true
		if slices.Sort(names); !slices.Equal(names, []string{"no-op", "one-knob", "random", "tuner"}) {
			t.Errorf("round %d: %v, want each once", n+1, names)
		}
	}
	if len(orders) < 2 {
		t.Errorf("got one order in all rounds: %v", orders)
	}
	if again := sample("no-op", "random", "one-knob", "tuner").turns(); !slices.Equal(again, turns) {
		t.Errorf("got %v, then %v, from the same seed", turns, again)
	}
}

func TestAPlanThatCannotBeCarriedOutIsRefusedWithAllReasons(t *testing.T) {
	p := plan{Entrants: []string{"no-op", "me", "no-op"}, Budget: time.Second, Settle: -1, Window: time.Second}
	err := p.validate()
	for _, want := range []string{
		"entrants: want of no-op, one-knob, random, tuner, vibectl, vibectl-scripted", "(got me)", "each once (got no-op twice)", "repeats: want 1 at least (got 0)",
		"budget: want 1m at least (got 1s)", "settle: want 0 or more", "window: want 10s at least",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestAnArenaThatWasInterruptedGoesOn(t *testing.T) {
	dir, p := t.TempDir(), sample("no-op", "tuner")
	first := p.turns()[0]
	j, err := openJournal(dir, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.add(result{turn: first, Lost: 3}); err != nil {
		t.Fatal(err)
	}
	j.close()
	tear(t, filepath.Join(dir, "results.jsonl"), `{"entrant":"tuner","rep`)
	if j, err = openJournal(dir, p); err != nil {
		t.Fatal(err)
	}
	if next, left := p.next(j.results); left != 5 || next != p.turns()[1] {
		t.Errorf("got %+v and %d left, want %+v and 5", next, left, p.turns()[1])
	}
	for _, turn := range p.turns()[1:] {
		if err := j.add(result{turn: turn}); err != nil {
			t.Fatal(err)
		}
	}
	j.close()
	if j, err = openJournal(dir, p); err != nil || len(j.results) != 6 || j.results[0].Lost != 3 {
		t.Fatalf("got %v and %+v, want six results, the first as it was", err, j)
	}
	j.close()
	if _, left := p.next(j.results); left != 0 {
		t.Errorf("got %d left, want none", left)
	}
	p.Budget++
	if _, err := openJournal(dir, p); err == nil || !strings.Contains(err.Error(), "results of another plan") {
		t.Errorf("another plan in the same folder: got %v", err)
	}
}

func tear(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestASearcherLeavesTheBestThatKeptTheSLO(t *testing.T) {
	at := func(n int64) space.Point { return space.Point{"io": n} }
	value := map[int64]search.Trial{ // of 4 it is the P99 that is bad
		1: {Value: 100, Bounds: []float64{0.1}}, 2: {Value: 150, Bounds: []float64{0.1}}, 4: {Value: 900, Bounds: []float64{0.9}}, 8: {Value: 120, Bounds: []float64{0.1}},
	}
	order := script{at(1), at(2), at(4), at(8)}
	var inForce []int64
	trying := func(most int) attempt {
		inForce = nil
		return func(_ context.Context, p space.Point, look bool) (search.Trial, bool, error) {
			if look && len(inForce) == most {
				return search.Trial{}, false, nil
			}
			inForce = append(inForce, p["io"])
			t := value[p["io"]]
			t.Point = p
			return t, true, nil
		}
	}
	for name, c := range map[string]struct {
		time int
		want []int64
	}{
		"all of them tried":     {9, []int64{1, 2, 4, 8, 2}},
		"time for two":          {2, []int64{1, 2, 2}},
		"no time for any":       {0, nil},
		"only one, so it stays": {1, []int64{1, 1}},
		"the bad one was last":  {3, []int64{1, 2, 4, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := explore(t.Context(), order, 0.25, trying(c.time), slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(inForce, c.want) {
				t.Errorf("in force: %v, want %v", inForce, c.want)
			}
		})
	}
	broken := errors.New("refused")
	if err := explore(t.Context(), order, 0.25, func(context.Context, space.Point, bool) (search.Trial, bool, error) {
		return search.Trial{}, false, broken
	}, slog.New(slog.DiscardHandler)); !errors.Is(err, broken) {
		t.Errorf("got %v, want what the cluster said", err)
	}
}

// script suggests points one after the other.
type script []space.Point

func (s script) Suggest(history []search.Trial) (search.Suggestion, bool) {
	if len(history) == len(s) {
		return search.Suggestion{}, false
	}
	return search.Suggestion{Point: s[len(history)]}, true
}

func TestTableAndPictureTellMediansTheBestFirst(t *testing.T) {
	p := sample("no-op", "tuner", "random")
	var results []result
	for n, end := range []float64{1900, 2100, 2000} {
		results = append(results,
			result{turn: turn{"tuner", n + 1}, Start: figures{Goodput: 1000}, End: figures{Goodput: end}, Violation: 10, Restarts: 5, Changes: 6},
			result{turn: turn{"no-op", n + 1}, Start: figures{Goodput: 1000}, End: figures{Goodput: 1000 + float64(n)}, Lost: float64(n), Breach: n == 1})
	}
	got := table(p, results)
	rows := strings.Split(strings.TrimSpace(got), "\n")[4:]
	want := []string{
		"| tuner | 3 | 1000 (1000 to 1000) | 2000 (1900 to 2100) | 2.00 × (1.90 to 2.10) | 10 | 5 | 6 | 0 | 0 |",
		"| no-op | 3 | 1000 (1000 to 1000) | 1001 (1000 to 1002) | 1.00 × (1.00 to 1.00) | 0 | 0 | 0 | 3 | 1 |",
	}
	if !slices.Equal(rows, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
	svg, err := draw(p, results)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for dec := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if e, ok := token.(xml.StartElement); ok {
			seen[e.Name.Local]++
		}
	}
	if seen["circle"] != 6 {
		t.Errorf("got %d dots, want one for each run", seen["circle"])
	}
	if !strings.Contains(svg, "2.00 ×") || strings.Index(svg, ">tuner<") > strings.Index(svg, ">no-op<") {
		t.Errorf("got\n%s\nwant the tuner first, with its median", svg)
	}
}

func TestHelpNamesEveryEntrant(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"--help"}, &out, &errs); code != 0 {
		t.Fatalf("got %d: %s", code, errs.String())
	}
	for _, name := range slices.Collect(maps.Keys(entrants)) {
		if !strings.Contains(out.String(), name) {
			t.Errorf("help does not name %s", name)
		}
	}
	if code := run(t.Context(), []string{"--entrants=me", "--out=" + t.TempDir()}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "(got me)") {
		t.Errorf("got %d and %q", code, errs.String())
	}
}
