package mcp

import (
	"context"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// resources adds what is long and of use as a whole: clients hand it to an agent, or to a person, when asked to.
func (s *Server) resources() {
	add := func(name, title, media, description string) {
		s.server.AddResource(&mcp.Resource{URI: "tuner://" + name, Name: name, Title: title, MIMEType: media, Description: description},
			func(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
				ctx, cancel := context.WithTimeout(ctx, limit)
				defer cancel()
				body, err := s.tuner.Get(ctx, name)
				if err != nil {
					return nil, err
				}
				return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: req.Params.URI, MIMEType: media, Text: string(body)}}}, nil
			})
	}
	add("report", "Report of the study", "text/markdown",
		"What the study came to so far: before and after with confidence intervals, every trial and why, what each knob is worth. Made from the ledger alone.")
	add("ledger", "The ledger", "application/jsonl",
		"Every record that the tuner wrote, one JSON object per line, oldest first: sessions, measurements, the phases of each trial, orders, changes of others.")
}
