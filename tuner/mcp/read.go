package mcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/status"
)

// nothing is what a tool is given that needs nothing.
type nothing struct{}

type last struct {
	Last int `json:"last,omitempty" jsonschema:"how many of the newest trials; all of them when absent"`
}

type one struct {
	Trial int `json:"trial" jsonschema:"number of the trial, from 1"`
}

type perhaps struct {
	Trial int `json:"trial,omitempty" jsonschema:"number of a trial, from 1; the present state when absent"`
}

// text is an answer for people.
type text struct {
	Text string `json:"text"`
}

// reading adds the tools that change nothing.
func (s *Server) reading() {
	read := func(name, title, description string) mcp.Tool {
		no := false
		return mcp.Tool{Name: name, Title: title, Description: description, Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true, IdempotentHint: true, OpenWorldHint: &no}}
	}
	tool(s, read("status", "What the tuner is doing",
		"State and why, mode, the latest latencies and rates (and why one is missing), the running trial, what waits, goodput at the start and at best, budgets, the newest changes."),
		s.status)
	tool(s, read("goal", "What is wanted",
		"The objective with its SLO and what counts as better, the guards that must not be breached, the budgets and how much of them is used, the mode."),
		func(ctx context.Context, _ *mcp.CallToolRequest, _ nothing) (any, error) {
			return ask[api.Goal](ctx, s, "goal")
		})
	tool(s, read("space", "What may be turned",
		"Every knob with its type, range, unit, steps and what a change of it costs; its desired, effective and best value; the limits between knobs; what the container may use."),
		func(ctx context.Context, _ *mcp.CallToolRequest, _ nothing) (any, error) {
			return ask[api.Space](ctx, s, "space")
		})
	tool(s, read("trials", "What was tried",
		"The trials, oldest first: what was changed, the outcome, the effect on goodput (relative), p, P99 in ms, the reason."), s.trials)
	tool(s, read("trial", "One trial",
		"Everything about one trial."),
		func(ctx context.Context, _ *mcp.CallToolRequest, in one) (any, error) {
			return ask[status.Trial](ctx, s, "trials/"+strconv.Itoa(in.Trial))
		})
	tool(s, read("why", "Why it is so",
		"In words: what the tuner is doing and which trial or person made each knob what it is; or why a trial was made and why it ended so."),
		func(ctx context.Context, _ *mcp.CallToolRequest, in perhaps) (any, error) {
			if in.Trial == 0 {
				return ask[api.Why](ctx, s, "why")
			}
			return ask[api.Why](ctx, s, "why?trial="+strconv.Itoa(in.Trial))
		})
	tool(s, read("ask", "What is next",
		"The trial that the tuner proposes and waits with (modes recommend and approve); in mode auto a trial begins at once."), s.ask)
}

// ask is a question of which the answer is passed on.
func ask[T any](ctx context.Context, s *Server, path string) (any, error) {
	var out T
	if err := s.tuner.Ask(ctx, path, &out); err != nil {
		return nil, err
	}
	return out, nil
}

// newest is how many changes are shown with the status.
const newest = 10

// glance is the status without its long lists, which have tools of their own.
type glance struct {
	status.Snapshot
	Trials  int             `json:"trials"`
	Changes []status.Change `json:"changes"` // the newest
}

func (s *Server) status(ctx context.Context, _ *mcp.CallToolRequest, _ nothing) (any, error) {
	var now status.Snapshot
	if err := s.tuner.Ask(ctx, "status", &now); err != nil {
		return nil, err
	}
	return glance{Snapshot: now, Trials: len(now.Trials), Changes: now.Changes[max(0, len(now.Changes)-newest):]}, nil
}

func (s *Server) trials(ctx context.Context, _ *mcp.CallToolRequest, in last) (any, error) {
	if in.Last < 0 {
		return nil, fmt.Errorf("last: want at least 1, or none (got %d)", in.Last)
	}
	var all []status.Trial
	if err := s.tuner.Ask(ctx, "trials", &all); err != nil {
		return nil, err
	}
	n := len(all)
	if in.Last > 0 {
		all = all[max(0, n-in.Last):]
	}
	return struct {
		Trials []status.Trial `json:"trials"`
		Total  int            `json:"total"`
	}{all, n}, nil
}

func (s *Server) ask(ctx context.Context, _ *mcp.CallToolRequest, _ nothing) (any, error) {
	next, err := ask[status.Proposal](ctx, s, "ask")
	var refusal *api.Refusal
	if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound { // nothing is proposed: an answer, too
		return text{refusal.Text}, nil
	}
	return next, err
}
