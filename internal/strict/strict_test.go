package strict_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/internal/strict"
)

type item struct {
	Name  string `yaml:"name"`
	Count int    `yaml:"count"`
}

func (i *item) SetDefaults() { i.Count = 7 }

type login struct {
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
}

type names []string

func (names) Lone() {}

type file struct {
	Wait  time.Duration     `yaml:"wait"`
	Limit *float64          `yaml:"limit"`
	Seed  uint64            `yaml:"seed"`
	On    bool              `yaml:"on"`
	Tags  map[string]string `yaml:"tags"`
	Items []item            `yaml:"items"`
	Login login             `yaml:"login"`
	Step  strict.Number     `yaml:"step"`
	Rules names             `yaml:"rules"`
	Own   string            `yaml:"-"`
}

func TestWhatAFileSaysIsReadAndTheRestKeepsItsValue(t *testing.T) {
	got := file{Seed: 3, Own: "mine"}
	r, err := strict.Read([]byte("wait: 5s\nlimit: 2.5\non: true\ntags: {a: 1, b: x}\nitems: [{name: one}, {name: two, count: 1e3}]\nstep: 0.10\nrules: one\n"), &got)
	if err != nil || r.Err("f") != nil {
		t.Fatal(err, r.Err("f"))
	}
	limit := 2.5
	want := file{
		Wait: 5 * time.Second, Limit: &limit, Seed: 3, On: true, Own: "mine", Step: "0.10", Rules: names{"one"},
		Tags: map[string]string{"a": "1", "b": "x"}, Items: []item{{"one", 7}, {"two", 1000}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if !r.Given("items[1].count") || r.Given("items[0].count") || r.Given("seed") {
		t.Error("what was given is not known")
	}
}

func TestFindings(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"in the order of the file, whatever came first": {
			"seed: -1\nitems: [{count: 1.5}, {nam: x}]\nwait: 5\n",
			`f:1:7: seed: must be a whole number within 0..18446744073709551615 (got -1)
f:2:17: items[0].count: must be a whole number (got 1.5)
f:2:24: items[1].nam: unknown field, probably name; must be one of count, name (got "x")
f:3:7: wait: must be a duration with its unit, as 250ms, 10s or 5m (got 5)`,
		},
		"a secret is not repeated": {
			"login: {user: u, password: hunter2}\n",
			`f:1:18: login.password: must not be in the file: a secret is in a file or an environment variable of its own, which password_file name (got a value that is not shown)`,
		},
		"a field of another part":          {"user: u\n", `f:1:1: user: unknown field here, but one of login: is it indented as it should be? must be one of items, limit, login, on, rules, seed, step, tags, wait (got "u")`},
		"a field that is not for a file":   {"own: x\n", `f:1:1: own: unknown field, probably on; must be one of items, limit, login, on, rules, seed, step, tags, wait (got "x")`},
		"a name with a line break in it":   {"\"a\\nb\": 1\n", `f:1:1: "a\nb": unknown field; must be one of items, limit, login, on, rules, seed, step, tags, wait (got 1)`},
		"a number for an answer":           {"on: 1\n", `f:1:5: on: must be true or false (got 1)`},
		"text for a number as written":     {"step: a\n", `f:1:7: step: must be a number, without quotes (got "a")`},
		"quotes about a number":            {"step: \"1\"\n", `f:1:7: step: must be a number, without quotes (got "1")`},
		"fields for a list of texts":       {"rules: {a: b}\n", `f:1:8: rules: must be a list (got fields)`},
		"a list for names and values":      {"tags: [a]\n", `f:1:7: tags: must be names with values (got a list)`},
		"the second of two, and the first": {"seed: 1\nseed: 2\n", `f:2:1: seed: must be there once only: line 1 has it too (got 2)`},
	} {
		t.Run(name, func(t *testing.T) {
			var got file
			r, err := strict.Read([]byte(c.text), &got)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Err("f"); err == nil || err.Error() != c.want {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

func TestWhatIsAddedHasItsPlaceUnlessTheFieldCouldNotBeRead(t *testing.T) {
	var got file
	r, err := strict.Read([]byte("items:\n  - name: one\nwait: soon\n"), &got)
	if err != nil {
		t.Fatal(err)
	}
	r.Addf("items[0].name", "must be two (got %q)", "one")
	r.Add("items[0].count", "must be set")
	r.Add("seed", "must be set")
	r.Add("wait", "must be within 1s..2s (got 0s)")
	want := []string{
		"f:2:5: items[0].count: must be set", `f:2:11: items[0].name: must be two (got "one")`,
		"f:3:7: wait: must be a duration with its unit, as 250ms, 10s or 5m (got \"soon\")", "f: seed: must be set",
	}
	if got := r.Err("f").Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}
