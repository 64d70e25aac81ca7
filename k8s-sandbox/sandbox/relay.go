package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kafkalab/kafkalab/k8s-sandbox/cgroup"
	"github.com/kafkalab/kafkalab/k8s-sandbox/relay"
)

// What the relay is told goes through its environment, which only root can read; a command line is for everybody.
const (
	relayPath   = "RELAY_PATH"
	relayTo     = "RELAY_TO"
	relayHeader = "RELAY_HEADER"
	relayToken  = "RELAY_TOKEN"
	relayKey    = "RELAY_KEY"
)

// relayToken is the one that the Secret holds, or a new one. It looks like a key, for vibectl warns of one that does not.
func (s *Sandbox) relayToken(ctx context.Context) (string, error) {
	out, err := s.kubectl(ctx, "get", "secret", secretName, "--namespace=kafkalab", "--ignore-not-found", "-o", "jsonpath={.data.token}")
	if err != nil {
		return "", err
	}
	if len(out) == 0 {
		return "sk-ant-kafkalab-" + rand.Text(), nil
	}
	token, err := base64.StdEncoding.DecodeString(string(out))
	if err != nil {
		return "", fmt.Errorf("read agent's secret: %w", err)
	}
	return string(token), nil
}

// startRelay leaves the relay running on the machine, in the sandbox's control group, where down finds it.
func (s *Sandbox) startRelay(ctx context.Context, note func(string), token string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	logs, err := os.OpenFile(s.l.Log("relay.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer logs.Close()
	path, to, header := s.agent.upstream()
	cmd := exec.Command(self, "relay", "--checkout="+s.l.Checkout)
	cmd.Stdout, cmd.Stderr, cmd.Dir = logs, logs, "/"
	cmd.Env = append(os.Environ(), relayPath+"="+path, relayTo+"="+to, relayHeader+"="+header, relayToken+"="+token, relayKey+"="+s.agent.key)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start relay: %w", err)
	}
	group, err := cgroup.New(systemGroup)
	if err == nil {
		err = group.Add(cmd.Process.Pid)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		return errors.Join(err, cmd.Wait())
	}
	if err := cmd.Process.Release(); err != nil {
		return fmt.Errorf("let go of relay: %w", err)
	}
	return wait(ctx, 10*time.Second, note, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+relayAddress()+"/-/healthy", nil)
		if err != nil {
			return err
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			return fmt.Errorf("waiting for the relay (log: %s): %w", s.l.Log("relay.log"), err)
		}
		defer resp.Body.Close()
		if said, err := io.ReadAll(io.LimitReader(resp.Body, 4096)); err != nil || string(said) != to {
			return fmt.Errorf("the relay leads to %q, want %q: %w", said, to, err)
		}
		return nil
	})
}

// stopRelay ends the one that runs, if one does: who holds the lock is the one whose number is in it.
func (s *Sandbox) stopRelay(ctx context.Context, note func(string)) error {
	f, err := os.OpenFile(s.l.Relay(), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for relay: %w", err)
	}
	defer f.Close()
	return wait(ctx, 10*time.Second, note, func(context.Context) error {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return nil
		}
		text, err := os.ReadFile(s.l.Relay())
		if err != nil {
			return fmt.Errorf("look for relay: %w", err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil || pid <= 1 {
			return fmt.Errorf("waiting for the relay to say who it is (got %q)", text)
		}
		if err := unix.Kill(pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end relay: %w", err)
		}
		return fmt.Errorf("waiting for the relay to end (process %d)", pid)
	})
}

// Relay is the relay's process: it runs in the machine's network until it is told to end.
func (s *Sandbox) Relay(ctx context.Context, log *slog.Logger) error {
	only, err := os.OpenFile(s.l.Relay(), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open relay's lock: %w", err)
	}
	defer only.Close()
	if err := unix.Flock(int(only.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errors.New("a relay runs already")
	}
	if _, err := fmt.Fprintln(only, os.Getpid()); err != nil {
		return fmt.Errorf("write relay's number: %w", err)
	}
	to, err := url.Parse(os.Getenv(relayTo))
	if err != nil {
		return fmt.Errorf("%s: %w", relayTo, err)
	}
	handler, err := relay.New(relay.Config{
		Path: os.Getenv(relayPath), To: to, Header: os.Getenv(relayHeader), Token: os.Getenv(relayToken), Key: os.Getenv(relayKey), Logger: log,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", relayAddress())
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
