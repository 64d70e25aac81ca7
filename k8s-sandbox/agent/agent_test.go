package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kafkalab/kafkalab/k8s-sandbox/agent/loop"
	"github.com/kafkalab/kafkalab/k8s-sandbox/agent/script"
)

// The test's own program is the kubectl that vibectl calls, as the agent's is.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "kubectl" {
		main()
	}
	os.Exit(m.Run())
}

// vibectl is the real one, as pinned, installed once for all runs of the tests.
func vibectl(t *testing.T) string {
	t.Helper()
	pinned, err := os.ReadFile("requirements.txt")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(cache, "kafkalab", fmt.Sprintf("vibectl-%x", sha256.Sum256(pinned))[:24])
	if err := os.MkdirAll(filepath.Dir(folder), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(folder + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	program, whole := filepath.Join(folder, "bin", "vibectl"), filepath.Join(folder, "whole")
	if _, err := os.Stat(whole); err == nil {
		return program
	}
	if err := os.RemoveAll(folder); err != nil { // what an installation that was interrupted has left
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"python3", "-m", "venv", folder},
		{filepath.Join(folder, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", "requirements.txt"},
	} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	if err := os.WriteFile(whole, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return program
}

const telemetry = `{"schema": 1, "timestamp": %q, "p99_ms": 187.5, "acked_per_second": 846.2, "slo_ms": 200, "state": "observing", "mode": "observe",
"knobs_desired": {"heap": 256, "io_threads": 2, "network_threads": 1}, "knobs_effective": {"heap": 256, "io_threads": 2, "network_threads": 1},
"knobs_unit": {"heap": "MiB"}, "limits": {"cpus": "2", "memory": "2Gi"}%s}`

// measured is what the tuner says of a start that it has measured.
const measured = `, "reference": {"measured": "2026-01-02T03:04:05Z", "goodput": 846.2, "p99_ms": 187.5}`

// kubectl is what a cluster with the lab's rights would answer: it takes the three variables in their ranges, and refuses the rest.
const kubectl = `#!/bin/sh
case "$*" in
*64000m*|*10000*|*RETENTION*) echo 'Error from server (Forbidden): statefulsets.apps "kafka" is forbidden: must be less' >&2; exit 1;;
patch*) echo "statefulset.apps/kafka patched";;
*) echo "NAME READY"; echo "kafka-0 1/1";;
esac
`

// lab is what surrounds the loop.
type lab struct {
	loop   *loop.Loop
	model  *script.Server
	home   string
	said   *safe
	status string
}

func setUp(t *testing.T, scenario string, change func(*loop.Config)) *lab {
	t.Helper()
	program := vibectl(t)
	home := t.TempDir()
	real := filepath.Join(home, "kubectl-real")
	if err := os.WriteFile(real, []byte(kubectl), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &lab{model: script.New(script.Scenarios()[scenario]), home: filepath.Join(home, "agent"), said: &safe{}, status: filepath.Join(home, "latency.json")}
	server := httptest.NewServer(s.model)
	t.Cleanup(server.Close)
	s.tell(t, time.Now())
	c := loop.Config{
		Telemetry: s.status, Freshness: 15 * time.Second, Vibectl: program, Kubectl: real, Home: s.home, Model: "scripted", Address: server.URL + "/v1",
		Keys: map[string]string{}, Every: time.Minute, Look: time.Millisecond, Patience: time.Hour, Longest: 5 * time.Minute, Steps: 3, Logger: slog.New(slog.NewJSONHandler(s.said, nil)),
	}
	if change != nil {
		change(&c)
	}
	var err error
	if s.loop, err = loop.New(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *lab) tell(t *testing.T, at time.Time) {
	t.Helper()
	s.write(t, at, measured)
}

// write replaces the file as the tuner does.
func (s *lab) write(t *testing.T, at time.Time, more string) {
	t.Helper()
	if err := os.WriteFile(s.status+".new", fmt.Appendf(nil, telemetry, at.UTC().Format(time.RFC3339Nano), more), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.status+".new", s.status); err != nil {
		t.Fatal(err)
	}
}

// seen is when the tuner has seen a change of now.
func seen() time.Time { return time.Now().Add(10 * time.Second) }

type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestASensibleModelPatchesOnceATurn(t *testing.T) {
	t.Parallel()
	s := setUp(t, script.Sensible, nil)
	tick := s.loop.Tick(t.Context())
	if tick.Trouble != "" || tick.Writes != 1 || tick.Refused != 0 {
		t.Fatalf("got %+v\n%s", tick, s.said)
	}
	args := strings.Join(tick.Calls[len(tick.Calls)-1].Args, " ")
	if !strings.HasPrefix(args, "patch statefulset kafka -n kafka") || !strings.Contains(args, "-Xms1024m -Xmx1024m") {
		t.Errorf("called kubectl %s", args)
	}

	t.Run("and is told goal, limits, ranges, knobs and figures", func(t *testing.T) {
		var plan script.Request
		for _, r := range s.model.Requests() {
			if r.Plan {
				plan = r
				break
			}
		}
		for _, want := range []string{
			"P99 latency stays below 200 ms", "2 CPUs and 2Gi of memory", "KAFKA_HEAP_OPTS: '-Xms<n>m -Xmx<n>m', from 256 to 1536 MiB, now 256 MiB",
			"KAFKA_NUM_IO_THREADS: a whole number, from 1 to 32 threads, now 2 threads", "from 1 to 16 threads, now 1 threads",
			`"p99_ms":187.5`, `"acked_per_second":846.2`,
		} {
			if !strings.Contains(plan.User, want) {
				t.Errorf("the model is not told %q in:\n%s", want, plan.User)
			}
		}
		if !plan.Time.Before(time.Now()) || plan.Authorization == "" {
			t.Errorf("got %+v", plan)
		}
	})
	t.Run("and says so to those who ask", func(t *testing.T) {
		answer := httptest.NewRecorder()
		s.model.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/requests", nil))
		var asked []script.Request
		if err := json.Unmarshal(answer.Body.Bytes(), &asked); err != nil || len(asked) == 0 || !asked[0].Plan || !strings.Contains(asked[0].User, "Goal:") {
			t.Errorf("got %v and %d questions, the first %+v", err, len(asked), asked)
		}
	})
	t.Run("and what it did last time", func(t *testing.T) {
		s.tell(t, seen())
		n := len(s.model.Requests())
		if tick := s.loop.Tick(t.Context()); tick.Trouble != "" {
			t.Fatalf("got %+v", tick)
		}
		if r := s.model.Requests()[n]; !strings.Contains(r.User, "What you did last time:\n  kubectl patch statefulset kafka") || !strings.Contains(r.User, "→ done") {
			t.Errorf("the model is told\n%s", r.User)
		}
	})
}

func TestAHarmfulModelIsRefused(t *testing.T) {
	t.Parallel()
	s := setUp(t, script.Harmful, nil)
	turns, writes, refused := 0, 0, 0
	for ; writes < len(script.Harm())-1; turns++ { // one of them is a look, at Secrets
		if turns == 3*len(script.Harm()) {
			t.Fatalf("only %d attempts in %d turns\n%s", writes, turns, s.said)
		}
		s.tell(t, time.Now())
		tick := s.loop.Tick(t.Context())
		writes, refused = writes+tick.Writes, refused+tick.Refused
		for _, c := range tick.Calls {
			if c.Write && c.Exit == 0 {
				t.Errorf("got through: %v", c.Args)
			}
		}
	}
	if refused != writes {
		t.Errorf("got %d of %d refused", refused, writes)
	}
}

func TestAUselessModelDoesNothing(t *testing.T) {
	t.Parallel()
	s := setUp(t, script.Useless, nil)
	if tick := s.loop.Tick(t.Context()); !tick.Asked || len(tick.Calls) != 0 {
		t.Errorf("got %+v", tick)
	}
}

// Each answer that is none has a turn of its own: some of them end vibectl, some it tries to get over.
func TestABrokenModelStopsNothing(t *testing.T) {
	t.Parallel()
	s := setUp(t, script.Broken, func(c *loop.Config) { c.Steps, c.Longest = 1, time.Minute })
	began := time.Now()
	for n := 0; len(s.model.Requests()) < len(script.Breaks()); n++ {
		if n == 3*len(script.Breaks()) || time.Since(began) > 5*time.Minute {
			t.Fatalf("only %d questions in %d turns", len(s.model.Requests()), n)
		}
		s.tell(t, time.Now())
		tick := s.loop.Tick(t.Context())
		if tick.Writes > 0 {
			t.Errorf("turn %d: got %+v", n, tick)
		}
	}
	if said := s.said.String(); !strings.Contains(said, `"msg":"vibectl"`) {
		t.Errorf("nothing is said of it:\n%s", said)
	}
}

func TestOldFiguresAreShownToNobody(t *testing.T) {
	t.Parallel()
	s := setUp(t, script.Sensible, nil)
	s.tell(t, time.Now().Add(-16*time.Second))
	tick := s.loop.Tick(t.Context())
	if tick.Asked || !strings.Contains(tick.Trouble, "at most 15s is allowed") || len(s.model.Requests()) > 0 {
		t.Errorf("got %+v and %d questions", tick, len(s.model.Requests()))
	}
	if err := os.Remove(s.status); err != nil {
		t.Fatal(err)
	}
	if tick := s.loop.Tick(t.Context()); tick.Asked || !strings.Contains(tick.Trouble, "not there yet") {
		t.Errorf("got %+v", tick)
	}
}

// A key reaches the model, and nothing else: no file, no log, no command line, no call of kubectl.
func TestAKeyIsSeenByTheModelOnly(t *testing.T) {
	t.Parallel()
	const canary = "sk-canary-4711"
	s := setUp(t, script.Sensible, func(c *loop.Config) { c.Keys["OPENAI_API_KEY"] = canary })
	seen := make(chan string, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { seen <- commandLines(ctx, canary) }()
	tick := s.loop.Tick(t.Context())
	stop()
	if line := <-seen; line != "" {
		t.Errorf("the key is in a command line: %s", line)
	}
	if tick.Writes != 1 {
		t.Fatalf("got %+v\n%s", tick, s.said)
	}
	if got := s.model.Requests()[0].Authorization; got != "Bearer "+canary {
		t.Errorf("the model got %q", got)
	}
	if strings.Contains(s.said.String(), canary) {
		t.Errorf("the key is in the log")
	}
	if text, _ := json.Marshal(tick); bytes.Contains(text, []byte(canary)) {
		t.Errorf("the key is in the account of the turn")
	}
	err := filepath.WalkDir(s.home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(canary)) {
			t.Errorf("the key is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// commandLines looks at those of all processes until ctx ends, and returns one with the word in it.
func commandLines(ctx context.Context, word string) string {
	for ctx.Err() == nil {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil && bytes.Contains(text, []byte(word)) {
				return string(bytes.ReplaceAll(text, []byte{0}, []byte(" ")))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return ""
}

// With a key of Anthropic's the address is asked as theirs is.
func TestAnAddressSpeaksTheLanguageOfItsKey(t *testing.T) {
	t.Parallel()
	type asked struct{ path, key, model string }
	seen := make(chan asked, 100)
	anthropic := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Model string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		seen <- asked{r.URL.Path, r.Header.Get("X-Api-Key"), body.Model}
		http.Error(w, `{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`, http.StatusBadRequest)
	}))
	defer anthropic.Close()
	s := setUp(t, script.Sensible, func(c *loop.Config) {
		c.Keys["ANTHROPIC_API_KEY"], c.Model, c.Address = "the key", "claude-sonnet-5", anthropic.URL
	})
	s.loop.Tick(t.Context())
	select {
	case got := <-seen:
		if want := (asked{"/v1/messages", "the key", "claude-sonnet-5"}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	default:
		t.Fatalf("nobody asked:\n%s", s.said)
	}
}

func TestAModelWithoutAWayToItIsRefused(t *testing.T) {
	for model, c := range map[string]struct {
		config loop.Config
		want   string
	}{
		"llama": {loop.Config{}, `model "llama": must begin with gpt-`},
		"gpt-4": {loop.Config{Address: "http://127.0.0.1:1", Keys: map[string]string{"ANTHROPIC_API_KEY": "k"}}, `model "gpt-4": must have claude- in its name`},
	} {
		c.config.Model, c.config.Home = model, t.TempDir()
		if _, err := loop.New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q, got %v", model, c.want, err)
		}
	}
}

func TestWithoutAKeyItSaysHowToGiveOne(t *testing.T) {
	var out, errs bytes.Buffer
	for _, v := range loop.KeyVariables() {
		t.Setenv(v, "")
	}
	if code := run(t.Context(), []string{"drive", "--model=claude-x"}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "set ANTHROPIC_API_KEY or OPENAI_API_KEY") {
		t.Errorf("got %d and %q", code, errs.String())
	}
}

// standIn is a program in vibectl's place.
func standIn(t *testing.T, text string) func(*loop.Config) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "vibectl")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return func(c *loop.Config) { c.Vibectl = program }
}

const trial3 = measured + `, "trial": {"number": 3, "phase": "warming"}`

// One change, one score: the model is not asked while a change would get none of its own.
func TestTheTunerIsWaitedFor(t *testing.T) {
	t.Parallel()
	t.Run("until it has measured what runs now", func(t *testing.T) {
		s := setUp(t, script.Useless, standIn(t, ""))
		s.write(t, time.Now(), `, "reason": "no load"`)
		if tick := s.loop.Tick(t.Context()); tick.Asked || tick.Waits == "" || !strings.Contains(tick.Trouble, "has not measured what runs now") || !strings.Contains(tick.Trouble, "no load") {
			t.Errorf("got %+v", tick)
		}
		s.tell(t, time.Now())
		if tick := s.loop.Tick(t.Context()); !tick.Asked || tick.Waits != "" || tick.Trouble != "" {
			t.Errorf("got %+v", tick)
		}
	})
	t.Run("until a change is scored", func(t *testing.T) {
		s := setUp(t, script.Useless, standIn(t, ""))
		s.write(t, time.Now(), trial3)
		if tick := s.loop.Tick(t.Context()); tick.Asked || tick.Waits == "" || !strings.Contains(tick.Trouble, "trial 3 is not over (it is warming)") {
			t.Errorf("got %+v", tick)
		}
	})
	t.Run("until it has seen a change that was made", func(t *testing.T) {
		s := setUp(t, script.Useless, standIn(t, "kubectl patch statefulset kafka -n kafka -p '{}'"))
		if tick := s.loop.Tick(t.Context()); tick.Writes != 1 || tick.Refused != 0 {
			t.Fatalf("got %+v\n%s", tick, s.said)
		}
		s.tell(t, time.Now())
		if tick := s.loop.Tick(t.Context()); tick.Asked || tick.Waits == "" || !strings.Contains(tick.Trouble, "may not have seen the last change") {
			t.Errorf("got %+v", tick)
		}
		s.tell(t, seen())
		if tick := s.loop.Tick(t.Context()); !tick.Asked {
			t.Errorf("got %+v", tick)
		}
	})
	t.Run("not after something that the server refused", func(t *testing.T) {
		s := setUp(t, script.Useless, standIn(t, "kubectl patch statefulset kafka -n kafka -p '10000'"))
		for range 2 {
			if tick := s.loop.Tick(t.Context()); !tick.Asked || tick.Writes != 1 || tick.Refused != 1 {
				t.Errorf("got %+v\n%s", tick, s.said)
			}
		}
	})
	t.Run("not where nobody scores", func(t *testing.T) {
		s := setUp(t, script.Useless, standIn(t, ""))
		s.write(t, time.Now(), `, "mode": "auto"`) // the last one counts
		if tick := s.loop.Tick(t.Context()); !tick.Asked {
			t.Errorf("got %+v", tick)
		}
	})
	impatient := func(c *loop.Config) {
		standIn(t, `for a; do echo "$a"; done`)(c)
		c.Patience = time.Nanosecond
	}
	t.Run("no longer than is reasonable, and the model is told", func(t *testing.T) {
		s := setUp(t, script.Useless, impatient)
		for _, c := range []struct{ more, why string }{{"", "the tuner has not measured what runs now"}, {trial3, "trial 3 is not over"}} {
			for range 2 { // each turn that it gets begins another wait
				s.write(t, time.Now(), c.more)
				if tick := s.loop.Tick(t.Context()); tick.Asked || !strings.Contains(tick.Trouble, c.why) {
					t.Errorf("got %+v", tick)
				}
				if tick := s.loop.Tick(t.Context()); !tick.Asked || tick.Trouble != "" {
					t.Errorf("got %+v", tick)
				}
			}
			if said := s.said.String(); !strings.Contains(said, `"says":"Beware: `+c.why) {
				t.Errorf("the model is not told %q: %s", c.why, said)
			}
		}
	})
	t.Run("for one thing after the other no longer than for one", func(t *testing.T) {
		s := setUp(t, script.Useless, impatient)
		for asked, more := range []string{trial3, ""} {
			s.write(t, time.Now(), more)
			if tick := s.loop.Tick(t.Context()); tick.Asked != (asked == 1) {
				t.Errorf("look %d: got %+v", asked+1, tick)
			}
		}
		if said := s.said.String(); !strings.Contains(said, "and get no score") {
			t.Errorf("the model is not told what it goes without: %s", said)
		}
	})
	t.Run("anew after it was away", func(t *testing.T) {
		s := setUp(t, script.Useless, impatient)
		for _, age := range []time.Duration{0, time.Hour, 0} {
			s.write(t, time.Now().Add(-age), trial3)
			if tick := s.loop.Tick(t.Context()); tick.Asked {
				t.Errorf("got %+v", tick)
			}
		}
	})
	t.Run("by many looks, and one line of the log for each wait", func(t *testing.T) {
		s := setUp(t, script.Useless, func(c *loop.Config) {
			standIn(t, "")(c)
			c.Every = time.Hour
		})
		s.write(t, time.Now(), "")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.loop.Run(ctx)
		}()
		for _, c := range []struct{ said, more string }{
			{"has not measured what runs now", trial3}, {"trial 3 is not over", measured}, {`"msg":"vibectl did nothing","tick":1,`, measured},
		} {
			for end := time.Now().Add(time.Minute); !strings.Contains(s.said.String(), c.said); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("it does not say %q: %s", c.said, s.said)
				}
			}
			s.write(t, time.Now(), c.more)
		}
		stop()
		<-ended
		if said := s.said.String(); strings.Count(said, "vibectl waits for the tuner") != 2 || strings.Count(said, "\n") != 3 {
			t.Errorf("want three lines (got %s)", said)
		}
	})
}

// What vibectl says and how long it takes is vibectl's business; what becomes of it is ours.
func TestVibectlIsHeldAtArmsLength(t *testing.T) {
	t.Parallel()
	const canary = "sk-canary-4712"
	stand := func(t *testing.T, text string) func(*loop.Config) {
		stand := standIn(t, text)
		return func(c *loop.Config) {
			stand(c)
			c.Keys["OPENAI_API_KEY"] = canary
		}
	}
	t.Run("a key that it prints is not in the log", func(t *testing.T) {
		s := setUp(t, script.Sensible, stand(t, "/usr/bin/env; printf 'no end of line '; echo $OPENAI_API_KEY"))
		if tick := s.loop.Tick(t.Context()); tick.Trouble != "" {
			t.Errorf("got %+v", tick)
		}
		if said := s.said.String(); strings.Contains(said, canary) || !strings.Contains(said, "no end of line [key]") {
			t.Errorf("the log says %s", said)
		}
	})
	t.Run("it gets nothing of our environment but what it needs", func(t *testing.T) {
		s := setUp(t, script.Sensible, stand(t, "/usr/bin/env"))
		s.loop.Tick(t.Context())
		if said := s.said.String(); strings.Contains(said, "GOPATH=") || strings.Contains(said, "PATH=/usr") || !strings.Contains(said, "/agent/bin") {
			t.Errorf("the log says %s", said)
		}
	})
	t.Run("each call that it makes is a line of the log", func(t *testing.T) {
		s := setUp(t, script.Sensible, stand(t, "kubectl get pods -n kafka"))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.loop.Run(ctx)
		}()
		for end := time.Now().Add(time.Minute); !strings.Contains(s.said.String(), "vibectl had its turn") && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		stop()
		<-ended
		if said := s.said.String(); !strings.Contains(said, `"msg":"call","tick":1,"call":{"time":`) || !strings.Contains(said, `"args":["get","pods","-n","kafka"]`) {
			t.Errorf("the log says %s", said)
		}
	})
	t.Run("its standard input is closed", func(t *testing.T) {
		s := setUp(t, script.Sensible, stand(t, "read answer || echo nobody answers"))
		if s.loop.Tick(t.Context()); !strings.Contains(s.said.String(), "nobody answers") {
			t.Errorf("the log says %s", s.said)
		}
	})
	t.Run("its time is bounded, and that of its children", func(t *testing.T) {
		pids := filepath.Join(t.TempDir(), "pids")
		s := setUp(t, script.Sensible, func(c *loop.Config) {
			stand(t, "/bin/sleep 600 & echo $! > "+pids+"; wait")(c)
			c.Longest = 5 * time.Second
		})
		if tick := s.loop.Tick(t.Context()); tick.Trouble != "vibectl was not done within 5s" {
			t.Errorf("got %+v", tick)
		}
		text, err := os.ReadFile(pids)
		if err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			state, err := os.ReadFile("/proc/" + strings.TrimSpace(string(text)) + "/stat")
			if err != nil || strings.Contains(string(state), ") Z ") {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("its child lives on: %s", state)
			}
		}
	})
	t.Run("it may be missing", func(t *testing.T) {
		s := setUp(t, script.Sensible, func(c *loop.Config) { c.Vibectl = "/nowhere/vibectl" })
		if tick := s.loop.Tick(t.Context()); !strings.Contains(tick.Trouble, "/nowhere/vibectl") {
			t.Errorf("got %+v", tick)
		}
	})
}
