package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/kafkalab/kafkalab/internal/cli"
	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// order is what the commands that talk to a running tuner are given.
type order struct {
	api.Order
	number    int
	knobs     map[string]string
	tokenFile string
}

func (s *settings) client() api.Client {
	return api.Client{Address: s.address, TokenFile: s.order.tokenFile}
}

func (s *settings) clientFlags(app *cli.App) {
	user := os.Getenv("USER")
	if user == "" {
		user = "cli"
	}
	add := func(name, help string, orders bool) *kingpin.CmdClause {
		c := app.Command(name, help)
		c.Flag("address", "The tuner's address.").Default("http://127.0.0.1:9500").StringVar(&s.address)
		if orders {
			c.Flag("by", "Who gives the order; it is in the ledger.").Default(user).StringVar(&s.order.By)
			c.Flag("reason", "Why; it is in the ledger.").StringVar(&s.order.Reason)
			c.Flag("token-file", "File with the token, where the tuner wants one.").StringVar(&s.order.tokenFile)
		}
		return c
	}
	trials := add("trials", "Print every trial.", false)
	trials.Flag("json", "Print them as JSON.").BoolVar(&s.jsonOut)
	why := add("why", "Say why the target is configured as it is, or why a trial was made and ended so.", false)
	why.Arg("trial", "Number of a trial.").IntVar(&s.order.number)
	add("ask", "Print what would be tried next.", false)
	add("pause", "Begin nothing more; the running trial goes to its end.", true)
	add("resume", "Go on after a pause.", true)
	for name, help := range map[string]string{
		"approve":  "Let the trial begin that waits for it.",
		"reject":   "Do not make the trial that waits, and propose it no more.",
		"rollback": "Go back to what was in force when a trial had ended; 0 is what the tuner found first.",
	} {
		add(name, help, true).Arg("trial", "Number of the trial.").Required().IntVar(&s.order.number)
	}
	add("abort", "Take back what the running trial changed, now.", true).Arg("trial", "Its number; otherwise whichever runs.").IntVar(&s.order.number)
	s.order.knobs = map[string]string{}
	propose := add("propose", "Have a configuration tried next.", true)
	propose.Arg("knob=value", "Values of knobs; the others stay as they are.").Required().StringMapVar(&s.order.knobs)
	tell := add("tell", "Tell what a configuration achieved when it was measured elsewhere.", true)
	tell.Flag("goodput", "Records per second.").Required().Float64Var(&s.order.Goodput)
	tell.Flag("p99", "P99 in milliseconds.").Required().Float64Var(&s.order.P99)
	tell.Arg("knob=value", "Value of every knob.").Required().StringMapVar(&s.order.knobs)
}

// ask carries out a command that talks to a running tuner.
func (s *settings) ask(ctx context.Context, command string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	switch command {
	case "trials":
		return s.showTrials(ctx, out)
	case "why":
		path := "why"
		if s.order.number > 0 {
			path += "?trial=" + strconv.Itoa(s.order.number)
		}
		var w api.Why
		if err := s.client().Ask(ctx, path, &w); err != nil {
			return err
		}
		_, err := io.WriteString(out, w.Text)
		return err
	case "ask":
		var p status.Proposal
		if err := s.client().Ask(ctx, "ask", &p); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "trial %d: %s %s → %s: %s\n", p.Trial, p.Env, p.Old, p.New, p.Reason)
		return err
	}
	body := s.order.Order
	switch command {
	case "approve", "reject", "rollback":
		body.Trial = &s.order.number
	case "abort":
		if s.order.number > 0 {
			body.Trial = &s.order.number
		}
	}
	var err error
	if body.Knobs, err = values(s.order.knobs); err != nil {
		return err
	}
	if err := s.client().Order(ctx, orders.Command(command), body); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "accepted: %s\n", command)
	return err
}

func values(texts map[string]string) (space.Point, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	p := space.Point{}
	for name, text := range texts {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: want a whole number (got %q)", name, text)
		}
		p[name] = v
	}
	return p, nil
}

func (s *settings) showTrials(ctx context.Context, out io.Writer) error {
	var trials []status.Trial
	if err := s.client().Ask(ctx, "trials", &trials); err != nil {
		return err
	}
	if s.jsonOut {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(trials)
	}
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "TRIAL\tCHANGE\tOUTCOME\tEFFECT\tREASON")
	for _, tr := range trials {
		effect, outcome := "", tr.Outcome
		if tr.Effect != nil {
			effect = fmt.Sprintf("%+.1f %%", *tr.Effect*100)
		}
		if outcome == "" {
			outcome = tr.Phase
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", tr.Number, tr.Summary(), outcome, effect, tr.Reason)
	}
	return t.Flush()
}
