package mcp

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/kafkalab/kafkalab/tuner/api"
	"github.com/kafkalab/kafkalab/tuner/config"
	"github.com/kafkalab/kafkalab/tuner/orders"
	"github.com/kafkalab/kafkalab/tuner/space"
	"github.com/kafkalab/kafkalab/tuner/status"
)

type proposal struct {
	Knobs  map[string]json.RawMessage `json:"knobs"`
	Reason string                     `json:"reason"`
}

// accepted is what becomes of a proposal.
type accepted struct {
	Accepted bool           `json:"accepted"`
	By       string         `json:"by"` // as the ledger has it
	Next     string         `json:"next"`
	Queue    []status.Order `json:"queue"`
}

// proposalSchema leaves names and ranges to the tuner, whose errors say what is allowed.
const proposalSchema = `{
	"type": "object", "required": ["knobs", "reason"], "additionalProperties": false,
	"properties": {
		"knobs": {
			"type": "object", "additionalProperties": {"type": ["number", "string", "boolean"]},
			"description": "values by the knobs' names, in their units, as space shows them"
		},
		"reason": {"type": "string", "description": "why, for the people who read the ledger; at most 500 bytes"}
	}
}`

// proposing adds the one tool that has consequences.
func (s *Server) proposing() {
	no := false
	tool(s, mcp.Tool{
		Name: "propose", Title: "Propose a configuration",
		Description: "Ask for a configuration to be tried next; knobs that are not named stay as they are. It is one trial of the budget: applied, watched, measured, and taken back " +
			"unless it is better. In mode approve it waits until a person approves it. It is refused in modes observe and recommend, outside a range, and when a budget is used up.",
		Annotations: &mcp.ToolAnnotations{DestructiveHint: &no, OpenWorldHint: &no},
		InputSchema: json.RawMessage(proposalSchema),
	}, s.propose)
}

func (s *Server) propose(ctx context.Context, req *mcp.CallToolRequest, in proposal) (any, error) {
	if strings.TrimSpace(in.Reason) == "" {
		return nil, errors.New(`reason: want why this is worth a trial (got "")`)
	}
	var known api.Space
	if err := s.tuner.Ask(ctx, "space", &known); err != nil {
		return nil, err
	}
	point, err := pointOf(known, in.Knobs)
	if err != nil {
		return nil, err
	}
	by := author(req.ClientInfo())
	if err := s.tuner.Order(ctx, orders.Propose, api.Order{By: by, Reason: in.Reason, Knobs: point}); err != nil {
		return nil, s.explain(ctx, err)
	}
	out := accepted{Accepted: true, By: by, Next: "it is tried when the running trial has ended, and judged like every other"}
	var now status.Snapshot
	if err := s.tuner.Ask(ctx, "status", &now); err != nil { // it is in the ledger all the same
		return out, nil
	}
	out.Queue = now.Queue
	if config.Mode(now.Mode) == config.Approve {
		out.Next = "it waits until a person approves it (tuner approve N); ask shows it once it is its turn"
	}
	return out, nil
}

// explain adds what would be allowed to what the tuner says against a proposal; of values it says so itself.
func (s *Server) explain(ctx context.Context, err error) error {
	var refusal *api.Refusal
	var now status.Snapshot
	if !errors.As(err, &refusal) || refusal.Status != http.StatusConflict || s.tuner.Ask(ctx, "status", &now) != nil || config.Mode(now.Mode).Acts() {
		return err
	}
	return fmt.Errorf("mode: want approve or auto, which is for people to set (got %s): %w", now.Mode, err)
}

// longestName of a client in the ledger; the API takes 100 bytes.
const longestName = 80

// author is the client under a name that no person gives orders by.
func author(client *mcp.Implementation) string {
	name := ""
	if client != nil {
		name = client.Name[:min(len(client.Name), longestName)]
	}
	name = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(name, ""))
	return "mcp:" + cmp.Or(name, "unknown")
}

// pointOf reads values as they are meant. Whether they are in their ranges is the tuner's to say.
func pointOf(known api.Space, values map[string]json.RawMessage) (space.Point, error) {
	if len(values) == 0 {
		return nil, fmt.Errorf("knobs: want at least one of %s (got none)", names(known))
	}
	p := space.Point{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i := slices.IndexFunc(known.Knobs, func(k api.Knob) bool { return k.Name == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("knobs.%s: want one of %s (got %s)", name, names(known), name))
			continue
		}
		k := known.Knobs[i]
		text := string(values[name])
		var quoted string
		if json.Unmarshal(values[name], &quoted) == nil {
			text = quoted
		}
		v, err := space.Knob{Name: k.Name, Type: k.Type, Choices: k.Choices, Decimals: k.Decimals}.Value(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("knobs.%w", err))
			continue
		}
		p[name] = v
	}
	return p, errors.Join(errs...)
}

func names(known api.Space) string {
	var out []string
	for _, k := range known.Knobs {
		out = append(out, k.Name)
	}
	return strings.Join(out, ", ")
}
