// Package shim stands in for kubectl on an agent's PATH. It writes down every call as a line of JSON, and refuses what an agent's role forbids
// anyway, so that the answer is quick and clear. The fence itself is the API server's: nothing here has to hold for the lab to be safe.
package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Author is the field manager under which an agent's patches are recorded, and so what the tuner calls their author.
const Author = "vibectl"

// refused is the exit code of a call that was not made, as that of a kubectl that the server refuses.
const refused = 1

// Call is one line of the log.
type Call struct {
	Time    time.Time `json:"time"`
	Args    []string  `json:"args"`
	Write   bool      `json:"write"`
	Refused string    `json:"refused,omitempty"` // by the shim, and why
	Exit    int       `json:"exit"`
	Seconds float64   `json:"seconds"`
	Error   string    `json:"error,omitempty"` // the end of what kubectl complained about
}

// Config is how calls are made.
type Config struct {
	Kubectl string // the real one
	Log     string // a file, one line of JSON for each call
	Timeout time.Duration
	Secret  func(variable string) bool // kubectl gets no such variable
	In      io.Reader
	Out     io.Writer
	Err     io.Writer
}

var (
	reads = []string{"api-resources", "api-versions", "cluster-info", "describe", "events", "explain", "get", "logs", "options", "version", "wait"}
	// Flags that make another one of the caller, or name another cluster.
	strange = []string{"--as", "--as-group", "--as-uid", "--client-certificate", "--client-key", "--cluster", "--context", "--field-manager",
		"--insecure-skip-tls-verify", "--kubeconfig", "--password", "--raw", "--server", "-s", "--subresource", "--tls-server-name", "--token", "--user", "--username"}
	// Flags whose value is the next argument.
	valued = []string{"-n", "--namespace", "-o", "--output", "-l", "--selector", "-p", "--patch", "--type", "-f", "--filename", "-c", "--container", "--tail",
		"--since", "--timeout", "--for", "--sort-by", "--field-selector", "--patch-file", "--request-timeout"}
)

// Check says why a call is refused, or nothing, and whether it would change something.
func Check(args []string) (refusal string, write bool) {
	words, flags, err := parse(args)
	if err != nil {
		return err.Error(), false
	}
	for _, f := range strange {
		if _, ok := flags[f]; ok {
			return f + ": an agent is who it is, where it is", false
		}
	}
	if len(words) == 0 {
		return "", false // kubectl shows its help
	}
	verb := words[0]
	if slices.Contains(reads, verb) || verb == "rollout" && len(words) > 1 && (words[1] == "status" || words[1] == "history") {
		return "", false
	}
	if verb != "patch" {
		return fmt.Sprintf("%s: must be patch, rollout status, rollout history or one of %s", verb, strings.Join(reads, ", ")), true
	}
	object := strings.ToLower(strings.Join(words[1:], "/"))
	if !slices.Contains([]string{"statefulset/kafka", "statefulsets/kafka", "sts/kafka", "statefulset.apps/kafka", "statefulsets.apps/kafka"}, object) {
		return fmt.Sprintf("patch %s: must be statefulset/kafka", object), true
	}
	namespace := flags["-n"] + flags["--namespace"]
	if namespace != "kafka" {
		return fmt.Sprintf("namespace %q: must be kafka", namespace), true
	}
	return "", true
}

// parse takes a command line apart: the words, and the flags with their values.
func parse(args []string) (words []string, flags map[string]string, err error) {
	flags = make(map[string]string)
	for i := 0; i < len(args); i++ {
		a := args[i]
		if !strings.HasPrefix(a, "-") || a == "-" {
			words = append(words, a)
			continue
		}
		name, value, given := strings.Cut(a, "=")
		if !strings.HasPrefix(a, "--") && len(a) > 2 && !given {
			name, value, given = a[:2], a[2:], true // -nkafka
		}
		if !given && slices.Contains(valued, name) {
			if i+1 == len(args) {
				return nil, nil, fmt.Errorf("%s: needs a value", name)
			}
			i++
			value = args[i]
		}
		if _, twice := flags[name]; twice && name != "-f" && name != "--filename" {
			return nil, nil, fmt.Errorf("%s: given twice", name)
		}
		flags[name] = value
	}
	return words, flags, nil
}

// Run makes a call, or refuses it, and writes it down. It returns the exit code.
func Run(ctx context.Context, c Config, args []string) int {
	call := Call{Time: time.Now().UTC(), Args: args}
	call.Refused, call.Write = Check(args)
	if call.Refused != "" {
		fmt.Fprintln(c.Err, "error: "+call.Refused)
		call.Exit = refused
	} else {
		call.Exit, call.Error = c.pass(ctx, args, call.Write)
	}
	call.Seconds = time.Since(call.Time).Seconds()
	if err := c.write(call); err != nil {
		fmt.Fprintln(c.Err, "error:", err) // a call that nobody knows of must not look as if it went well
		return refused
	}
	return call.Exit
}

// pass makes the call with the real kubectl.
func (c Config) pass(ctx context.Context, args []string, write bool) (exit int, complaint string) {
	ctx, stop := context.WithTimeout(ctx, c.Timeout)
	defer stop()
	if write {
		args = append(slices.Clone(args), "--field-manager="+Author)
	}
	cmd := exec.CommandContext(ctx, c.Kubectl, args...)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !c.Secret(name) {
			cmd.Env = append(cmd.Env, v)
		}
	}
	tail := &tail{most: 1000}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.In, c.Out, io.MultiWriter(c.Err, tail)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case err == nil:
		return 0, ""
	case ctx.Err() != nil:
		fmt.Fprintf(c.Err, "error: no answer within %v\n", c.Timeout)
		return refused, fmt.Sprintf("no answer within %v", c.Timeout)
	case errors.As(err, &ended):
		return ended.ExitCode(), strings.TrimSpace(string(tail.kept))
	default:
		fmt.Fprintln(c.Err, "error:", err)
		return refused, err.Error()
	}
}

// write appends the line in one go, so that calls beside each other do not mix.
func (c Config) write(call Call) error {
	line, err := json.Marshal(call)
	if err != nil {
		return fmt.Errorf("encode call: %w", err)
	}
	f, err := os.OpenFile(c.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of calls: %w", err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write log of calls: %w", err)
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	most int
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if n := len(t.kept) - t.most; n > 0 {
		t.kept = append(t.kept[:0], t.kept[n:]...)
	}
	return len(p), nil
}
