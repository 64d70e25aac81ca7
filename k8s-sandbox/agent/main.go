// Agent puts vibectl, an LLM-driven kubectl, at the wheel of the lab's Kafka: it is the loop that asks it, the kubectl that it calls, and a
// scripted model for those who have no key.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kafkalab/kafkalab/k8s-sandbox/agent/loop"
	"github.com/kafkalab/kafkalab/k8s-sandbox/agent/script"
	"github.com/kafkalab/kafkalab/k8s-sandbox/agent/shim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if filepath.Base(os.Args[0]) == "kubectl" {
		os.Exit(shim.Run(ctx, shim.Config{
			Kubectl: os.Getenv("AGENT_KUBECTL"), Log: os.Getenv("AGENT_CALLS"), Timeout: 2 * time.Minute, Secret: loop.Secret,
			In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		}, os.Args[1:]))
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := kingpin.New("agent", "Lets vibectl tune the lab's Kafka.")
	app.UsageWriter(stdout)
	app.ErrorWriter(stderr)
	app.HelpFlag.Short('h')
	drive := app.Command("drive", "Give vibectl a turn again and again, with the goal and the newest figures. The key comes from ANTHROPIC_API_KEY or OPENAI_API_KEY, "+
		"or from the file that ANTHROPIC_API_KEY_FILE or OPENAI_API_KEY_FILE names.")
	c := loop.Config{Keys: map[string]string{}, Look: 3 * time.Second, Patience: 15 * time.Minute, Logger: slog.New(slog.NewJSONHandler(stderr, nil))}
	drive.Flag("telemetry", "The tuner's latency.json.").Default("/tmp/status/latency.json").StringVar(&c.Telemetry)
	drive.Flag("freshness", "Older telemetry is not shown to the model.").Default("15s").DurationVar(&c.Freshness)
	drive.Flag("vibectl", "The program.").Default("/opt/vibectl/bin/vibectl").StringVar(&c.Vibectl)
	drive.Flag("kubectl", "The kubectl that makes the calls that are let through.").Default("/usr/local/bin/kubectl").StringVar(&c.Kubectl)
	drive.Flag("home", "A folder for settings, memory and the log of calls; it may be lost.").Default("/tmp/agent").StringVar(&c.Home)
	drive.Flag("model", "The model, as llm names it.").Required().StringVar(&c.Model)
	drive.Flag("address", "An API that serves the model, such as http://127.0.0.1:11434/v1: OpenAI's, or Anthropic's where the key is one of theirs.").StringVar(&c.Address)
	drive.Flag("every", "From the start of a turn to that of the next, at the soonest: the tuner is waited for, up to a quarter of an hour.").Default("60s").DurationVar(&c.Every)
	drive.Flag("longest", "How long a turn may take.").Default("3m").DurationVar(&c.Longest)
	drive.Flag("steps", "What vibectl may do in a turn.").Default("3").IntVar(&c.Steps)
	drive.Flag("pause", "Between its steps.").Default("2s").DurationVar(&c.Pause)
	model := app.Command("model", "Serve a scripted model, for tests and as a yardstick.")
	listen := model.Flag("listen", "Where.").Default("127.0.0.1:18099").String()
	scenario := model.Flag("scenario", "How it behaves: "+strings.Join(script.Names(), ", ")+".").Default(script.Sensible).Enum(script.Names()...)

	ended, code := false, 0
	app.Terminate(func(c int) { ended, code = true, c })
	command, err := app.Parse(args)
	if ended {
		return code
	}
	if err == nil && command == model.FullCommand() {
		err = serve(ctx, *listen, script.New(script.Scenarios()[*scenario]))
	} else if err == nil {
		err = turns(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(stderr, "agent:", err)
		return 1
	}
	return 0
}

func turns(ctx context.Context, c loop.Config) error {
	for _, name := range loop.KeyVariables() {
		key, err := secret(name)
		if err != nil {
			return err
		}
		if key != "" {
			c.Keys[name] = key
		}
	}
	if len(c.Keys) == 0 && c.Address == "" {
		return fmt.Errorf("no key: set %s, or the same with _FILE and a file's name, or --address to a model that needs none", strings.Join(loop.KeyVariables(), " or "))
	}
	l, err := loop.New(c)
	if err != nil {
		return err
	}
	l.Run(ctx)
	return nil
}

// secret is a key from a variable or from the file that the same variable with _FILE names. The variables are gone afterwards, so that no
// child gets them but vibectl.
func secret(name string) (string, error) {
	key, file := os.Getenv(name), os.Getenv(name+"_FILE")
	os.Unsetenv(name)
	if key != "" || file == "" {
		return key, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	if key = strings.TrimSpace(string(text)); key == "" {
		return "", fmt.Errorf("%s_FILE: %s is empty", name, file)
	}
	return key, nil
}

func serve(ctx context.Context, address string, s *script.Server) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
