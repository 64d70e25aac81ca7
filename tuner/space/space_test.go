package space_test

import (
	"strings"
	"testing"

	"github.com/kafkalab/kafkalab/tuner/space"
)

func heap() space.Knob {
	return space.Knob{Name: "heap", Env: "KAFKA_HEAP_OPTS", Format: "-Xms{v}m -Xmx{v}m", Unit: "MiB", Scale: 1 << 20, Min: 256, Max: 3072, Steps: []int64{256, 512}, Source: space.JVMHeap, MemoryFraction: 0.75}
}

func TestRenderAndParse(t *testing.T) {
	k := heap()
	for _, v := range []int64{1, 256, 3072} {
		if got, err := k.Parse(k.Render(v)); err != nil || got != v {
			t.Errorf("%d: got %d, %v", v, got, err)
		}
	}
	if got := k.Render(512); got != "-Xms512m -Xmx512m" {
		t.Errorf("got %q", got)
	}
	if got, err := k.Parse("  -Xms512m   -Xmx512m "); err != nil || got != 512 {
		t.Errorf("want blanks not to matter (got %d, %v)", got, err)
	}
	for text, want := range map[string]string{
		"":                             "want the form",
		"-Xmx512m":                     "want the form",
		"-Xms512m -Xmx1024m":           "one value in every place",
		"-Xms512m -Xmx512m -XX:+UseG1": "want the form",
		"-Xms1g -Xmx1g":                "want the form",
		"-Xms-5m -Xmx-5m":              "want the form",
	} {
		if got, err := k.Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q (got %d, %v)", text, want, got, err)
		}
	}
	threads := space.Knob{Env: "N", Format: "{v}"}
	if got, err := threads.Parse("16"); err != nil || got != 16 {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		v, memory int64
		want      string
	}{
		"inside":                     {1024, 4 << 30, ""},
		"below the range":            {128, 4 << 30, "want 256..3072 MiB (got 128)"},
		"above the range":            {4096, 16 << 30, "want 256..3072 MiB (got 4096)"},
		"three quarters exactly":     {3072, 4 << 30, ""},
		"more than the memory holds": {2048, 2 << 30, "want at most 75 % of the pod's memory limit of 2048 MiB, which is 1536 MiB (got 2048 MiB)"},
		"memory not known":           {2048, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := heap().Check(c.v, c.memory)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("want %q (got %v)", c.want, err)
			}
		})
	}
}

func TestPoint(t *testing.T) {
	p := space.Point{"b": 2, "a": 1}
	q := p.With("a", 9)
	if p["a"] != 1 || q["a"] != 9 || q["b"] != 2 {
		t.Errorf("want a changed copy (got %v and %v)", p, q)
	}
	if p.Key() != "a=1 b=2" {
		t.Errorf("got %q", p.Key())
	}
	got, err := space.Parse([]space.Knob{heap(), {Name: "io", Env: "IO", Format: "{v}"}}, map[string]string{"IO": "x"})
	if err == nil || !strings.Contains(err.Error(), "KAFKA_HEAP_OPTS") || !strings.Contains(err.Error(), "IO") || len(got) != 0 {
		t.Errorf("want both variables named (got %v, %v)", got, err)
	}
}
