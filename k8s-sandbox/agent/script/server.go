// Package script is a model without a mind: an OpenAI-compatible server whose answers follow a scenario, so that the agent's loop can be
// tested, and compared with, without a key. It keeps every request for those who want to know what a model is told.
package script

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Request is what a model was asked.
type Request struct {
	Time          time.Time `json:"time"`
	Authorization string    `json:"authorization"`
	Model         string    `json:"model"`
	Plan          bool      `json:"plan"`   // the answer must be an action; otherwise any text will do
	System        string    `json:"system"` // what the client says of itself
	User          string    `json:"user"`   // the question
}

// Answer is what the scenario says.
type Answer struct {
	Text   string        // the content
	Status int           // 0: 200
	Wait   time.Duration // before anything is said
	Cut    bool          // hang up in the middle
}

// Scenario answers plans. n counts them from 0.
type Scenario func(n int, r Request) Answer

// Server answers POST /v1/chat/completions, and GET /requests with what it was asked so far.
type Server struct {
	scenario Scenario

	mu   sync.Mutex
	seen []Request
	n    int // plans
}

// New answers by a scenario.
func New(s Scenario) *Server { return &Server{scenario: s} }

// Requests are those so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.seen...)
}

// completion is the part of a request that matters here.
type completion struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role    string `json:"role"`
		Content any    `json:"content"`
	} `json:"messages"`
	Format *struct {
		Type string `json:"type"`
	} `json:"response_format"`
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet && r.URL.Path == "/requests" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Requests())
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" {
		http.NotFound(w, r)
		return
	}
	var c completion
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 10<<20)).Decode(&c); err != nil {
		http.Error(w, fmt.Sprintf("read request: %v", err), http.StatusBadRequest)
		return
	}
	a := s.answer(r, c)
	select {
	case <-time.After(a.Wait):
	case <-r.Context().Done():
		return
	}
	if a.Status != 0 {
		http.Error(w, `{"error":{"message":"scripted failure","type":"server_error"}}`, a.Status)
		return
	}
	if c.Stream {
		stream(w, c.Model, a)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": "scripted", "object": "chat.completion", "created": time.Now().Unix(), "model": c.Model,
		"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": a.Text}}},
		"usage":   usage(),
	})
}

func (s *Server) answer(r *http.Request, c completion) Answer {
	asked := Request{Time: time.Now(), Authorization: r.Header.Get("Authorization"), Model: c.Model, Plan: c.Format != nil && c.Format.Type == "json_schema"}
	for _, m := range c.Messages {
		text := content(m.Content)
		if m.Role == "system" {
			asked.System += text
		} else {
			asked.User += text
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, asked)
	if !asked.Plan {
		return Answer{Text: "noted"}
	}
	s.n++
	return s.scenario(s.n-1, asked)
}

// content is the text of a message, which is a string or a list of parts.
func content(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var out strings.Builder
		for _, part := range v {
			if p, ok := part.(map[string]any); ok {
				if text, ok := p["text"].(string); ok {
					out.WriteString(text)
				}
			}
		}
		return out.String()
	}
	return ""
}

// usage is what an answer cost: a script does not count, but those who ask want to be told.
func usage() map[string]int {
	return map[string]int{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
}

// stream answers in two pieces, as models do.
func stream(w http.ResponseWriter, model string, a Answer) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(delta map[string]any, reason any) {
		text, err := json.Marshal(map[string]any{
			"id": "scripted", "object": "chat.completion.chunk", "created": time.Now().Unix(), "model": model,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": reason}}, "usage": usage(),
		})
		if err != nil {
			return
		}
		fmt.Fprintf(w, "data: %s\n\n", text)
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
	half := len(a.Text) / 2
	send(map[string]any{"role": "assistant", "content": a.Text[:half]}, nil)
	if a.Cut {
		panic(http.ErrAbortHandler) // net/http's way to drop a connection
	}
	send(map[string]any{"content": a.Text[half:]}, nil)
	send(map[string]any{}, "stop")
	fmt.Fprint(w, "data: [DONE]\n\n")
}
