package kubetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"testing"
)

// Option is something that Start does beside what it always does.
type Option func(*Server)

// Audited has the server write down who asked for what; Audit reads it.
func Audited() Option { return func(s *Server) { s.audited = true } }

const auditPolicy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived, ResponseStarted]\nrules: [{level: Metadata}]\n"

// Request is one that the API server has answered.
type Request struct {
	User        string // who it was made for: one who acts as somebody else is that one
	Verb        string
	Group       string
	Resource    string
	Subresource string
	Namespace   string
	Name        string
	Code        int // of the answer
}

// Audit are the requests that have been answered, as the server wrote them down. It does so before it answers, except that a watch is there only when it
// has ended.
func (s *Server) Audit(t testing.TB) []Request {
	t.Helper()
	text, err := os.ReadFile(s.path("audit.log"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var all []Request
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb string
			User struct{ Username string }
			As   *struct{ Username string } `json:"impersonatedUser"`
			Ref  struct {
				Resource, Subresource, Namespace, Name string
				Group                                  string `json:"apiGroup"`
			} `json:"objectRef"`
			Status struct{ Code int } `json:"responseStatus"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("read audit log: %v", err)
		}
		r := Request{
			User: e.User.Username, Verb: e.Verb, Group: e.Ref.Group, Resource: e.Ref.Resource, Subresource: e.Ref.Subresource,
			Namespace: e.Ref.Namespace, Name: e.Ref.Name, Code: e.Status.Code,
		}
		if e.As != nil {
			r.User = e.As.Username
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("read audit log: %v", err)
	}
	return all
}
